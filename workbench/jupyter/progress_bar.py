"""Shows a running cell's progress: to the person at the notebook as text, to the engine as data."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from workbench.stage.progress import PROGRESS_MIME

_EVERY_SECONDS = 0.25


@dataclass
class CellProgress:
    """One line under the running cell, updated at most four times a second and always at the end."""

    handles: dict[int, DisplayHandle] = field(default_factory=dict)
    shown_at: float = 0.0

    def show(self, done: int, total: int | None, unit: str) -> None:
        """Show what is done, and of how many where that is known."""
        if done != total and time.monotonic() - self.shown_at < _EVERY_SECONDS:
            return
        self.shown_at = time.monotonic()
        text = f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"
        self._display({"text/plain": text, PROGRESS_MIME: {"done": done, "total": total, "unit": unit}})

    def _display(self, bundle: dict[str, Any]) -> None:
        shell = get_ipython()
        cell = shell.execution_count if shell else 0
        if cell in self.handles:
            self.handles[cell].update(bundle, raw=True)
        else:
            self.handles[cell] = DisplayHandle()
            self.handles[cell].display(bundle, raw=True)
