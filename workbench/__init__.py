"""The notebook workbench: runs chains of notebooks, and keeps what they tell.

A notebook imports `open_stage` from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.jupyter.stage_session import StageSession, open_stage

__all__ = ["StageSession", "open_stage"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what notebooks want only when they ask: the engine's own processes do without it."""
    if name in __all__:
        from workbench.jupyter import stage_session

        return getattr(stage_session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
