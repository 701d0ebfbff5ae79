"""How long a database that is away is waited for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from workbench.services.processes import free_port
from workbench.state import database


@pytest.fixture
def tries_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Looks into a database that nobody serves, for half a second at the most; returns how often it has tried."""
    monkeypatch.setattr(database, "_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(database._Outage, "began", None)
    engine = create_engine(f"postgresql+psycopg2://nobody@127.0.0.1:{free_port()}/nothing")
    tries: list[int] = []

    @database.patient
    def look() -> None:
        tries.append(1)
        engine.connect()

    def count() -> int:
        tries.clear()
        with pytest.raises(OperationalError):
            look()
        return len(tries)

    return count


def test_an_outage_is_waited_for_once_by_all_calls_together(tries_of: Callable[[], int]) -> None:
    assert tries_of() > 1
    assert tries_of() == 1
    assert database.patient(lambda: "it answers again")() == "it answers again"
    assert tries_of() > 1
