"""The page on a fresh database, as tests/web has it."""

from __future__ import annotations

from tests.web.conftest import own_settings, page, worker

__all__ = ["own_settings", "page", "worker"]
