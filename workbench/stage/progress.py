"""How a stage tells how far it is."""

from __future__ import annotations

from typing import Protocol

RECORDS = "records"
PROGRESS_MIME = "application/vnd.workbench.progress+json"  # how a kernel sends it to the engine


class Progress(Protocol):
    """Called with what is done so far and the total, where it is known; cheap enough for a few calls a second."""

    def __call__(self, done: int, total: int | None, unit: str = RECORDS, /) -> None:
        """`unit` is what is counted, in the plural."""


def silent(_done: int, _total: int | None, _unit: str = RECORDS) -> None:
    """Tell nobody."""
