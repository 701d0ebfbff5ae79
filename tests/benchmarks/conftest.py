"""Fixtures of other folders that benchmarks use as well."""

from tests.web.conftest import own_settings, page, worker

__all__ = ["own_settings", "page", "worker"]
