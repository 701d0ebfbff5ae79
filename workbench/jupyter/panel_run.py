"""The lower half of the control panel: one run as it goes on, its files, its last log lines."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets as widgets
from sqlalchemy import Engine

from workbench.base.settings import Settings
from workbench.jupyter import panel_view
from workbench.jupyter.log_tail import last_lines
from workbench.jupyter.run_watcher import Sight, Watcher


class RunView:
    """Shows one run at a time; `on_look` is told of every look at it, in the watcher's thread."""

    def __init__(self, engine: Engine, settings: Settings, on_look: Callable[[Sight], None]) -> None:
        self._engine = engine
        self._settings = settings
        self._on_look = on_look
        self._watcher: Watcher | None = None
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
        self._watcher = Watcher(self._engine, self._settings, pipeline_id, self._show)
        self._watcher.follow()

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

    def _show(self, sight: Sight) -> None:
        pipeline_id = sight.document["pipeline_id"]
        lines = "\n".join(last_lines(self._settings.home / "logs" / "workbench.log", pipeline_id))
        shown = {
            self.run: panel_view.run_html(sight),
            self.files: panel_view.files_html(self._settings, pipeline_id),
            self.log: f"<pre>{html.escape(lines) or 'nothing yet'}</pre>",
        }
        for widget, value in shown.items():
            if widget.value != value:
                widget.value = value
        self._on_look(sight)
