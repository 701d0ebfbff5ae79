"""Fixtures of other folders that benchmarks use as well."""

from tests.web.conftest import engine, own_settings, page, worker

__all__ = ["engine", "own_settings", "page", "worker"]
