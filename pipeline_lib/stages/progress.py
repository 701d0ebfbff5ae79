"""How a stage tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None], None]
"""Called with the records done so far and the total, where it is known; cheap enough for a few calls a second."""


def silent(_done: int, _total: int | None) -> None:
    """Tell nobody."""
