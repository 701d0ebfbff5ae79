"""The lower half of the control panel: one run as it goes on, its files, its last log lines."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from sqlalchemy import Engine

from workbench.base.settings import Settings
from workbench.jupyter import panel_view
from workbench.jupyter.run_watcher import RunWatcher
from workbench.state.run_snapshot import RunSnapshot

_TAIL_BYTES = 256 * 1024
_NOT_SHOWN = {"timestamp", "status", "logger", "message", "pipeline_id", "stage", "error.stack"}


class RunDisplay:
    """Shows one run at a time; `on_read` is called with each snapshot of it, in the watcher's thread."""

    def __init__(self, engine: Engine, settings: Settings, on_read: Callable[[RunSnapshot], None]) -> None:
        self._engine = engine
        self._settings = settings
        self._on_read = on_read
        self._watcher: RunWatcher | None = None
        self.run, self.files, self.log = (widgets.HTML() for _ in range(3))
        log = widgets.Accordion([self.log], titles=("Last lines of the log",))
        self.widget = widgets.VBox([self.run, self.files, log])

    @property
    def pipeline_id(self) -> str | None:
        """The run that is shown."""
        return self._watcher.pipeline_id if self._watcher else None

    def watch(self, pipeline_id: str) -> None:
        """Show this run from now on, and nothing more of the one before."""
        self.stop()
        self._watcher = RunWatcher(self._engine, self._settings, pipeline_id, self._show)
        self._watcher.start()

    def say(self, text: str, *, alert: bool = False) -> None:
        """Show a sentence in place of a run."""
        self.stop()
        role = ' role="alert"' if alert else ""
        self.run.value, self.files.value, self.log.value = f"<b{role}>{html.escape(text)}</b>", "", ""

    def stop(self) -> None:
        """Watch nothing more."""
        if self._watcher:
            self._watcher.stop()
            self._watcher = None

    def _show(self, run: RunSnapshot) -> None:
        pipeline_id = run.document["pipeline_id"]
        lines = "\n".join(last_lines(self._settings.home / "logs" / "workbench.log", pipeline_id))
        shown = {
            self.run: panel_view.run_html(run),
            self.files: panel_view.files_html(self._settings, pipeline_id),
            self.log: f"<pre>{html.escape(lines) or 'nothing yet'}</pre>",
        }
        for widget, value in shown.items():
            if widget.value != value:
                widget.value = value
        self._on_read(run)


def last_lines(log: Path, pipeline_id: str, count: int = 12) -> list[str]:
    """Return the newest lines about this run, oldest first; none without a log file."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    records = [_parsed(line) for line in lines if pipeline_id in line]
    return [_in_words(record) for record in records if record.get("pipeline_id") == pipeline_id][-count:]


def _parsed(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # the first line of the tail is cut
        return {}
    return record if isinstance(record, dict) else {}


def _in_words(record: dict[str, Any]) -> str:
    what = [f"{record.get(name, ''):{width}}" for name, width in (("status", 7), ("stage", 9), ("message", 1))]
    more = {
        name: value
        for name, value in record.items()
        if name not in _NOT_SHOWN and not name.startswith("dd.") and value is not None
    }
    details = " ".join(f"{name}={value}" for name, value in more.items())
    return " ".join((str(record.get("timestamp", ""))[11:19], *what, details)).rstrip()
