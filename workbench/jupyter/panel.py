"""The control panel of 00_workbench: choose parameters, start, watch, cancel, resume, look back.

Nothing here waits: a run is a process of its own (run_launcher), threads watch it (run_watcher), and callbacks of
buttons only set widgets, so the kernel answers at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import ipywidgets as widgets

from workbench.base.settings import Settings, load_settings
from workbench.jupyter import panel_view, run_launcher
from workbench.jupyter.kernel_services import kernel_services
from workbench.jupyter.panel_run import RunDisplay
from workbench.jupyter.run_launcher import Launch
from workbench.jupyter.widgets import run_form
from workbench.services import postgres
from workbench.stage.pipeline import PIPELINE
from workbench.stage.run_parameters import RunParameters
from workbench.state import database, queries
from workbench.state.lease import request_cancel
from workbench.state.run_estimate import estimate, past_runs
from workbench.state.run_snapshot import RunSnapshot
from workbench.state.states import TERMINAL, RunStatus

_PANEL = "panel"
_HISTORY = 10
_LOOK_SECONDS = 0.3
_STARTING = "Starting: services are reached, or started first …"


def control_panel() -> widgets.VBox:
    """Return the control panel; one made earlier in this kernel is closed, so a cell run twice does no harm."""
    services = kernel_services()
    services.close(_PANEL)
    panel = Panel(load_settings())
    services.keep_open(_PANEL, panel)
    return panel.widget


class Panel:
    """The panel's widgets and what they do."""

    def __init__(self, settings: Settings) -> None:
        self._services = ExitStack()
        self._settings = settings
        self._engine = database.connect_by_hand(self._services.enter_context(postgres.held(settings)))
        self._services.callback(self._engine.dispose)
        self._starting: Launch | None = None
        self._status = ""
        self._past = past_runs(self._engine)
        self.form = run_form()
        self.estimate, self.history = widgets.HTML(), widgets.HTML()
        self.start = _button("Start", "play", "success", self._start)
        self.cancel = _button("Cancel", "stop", "warning", self._cancel)
        self.resume = _button("Resume", "step-forward", "info", self._resume)
        self.chooser = widgets.Dropdown(description="Look at run", style={"description_width": "initial"})
        self.chooser.layout.width = "34em"
        self.view = RunDisplay(self._engine, settings, self._seen)
        self.chooser.observe(self._chosen, names="value")
        self.form.on_change(self._judge)
        self.widget = self._arranged()
        self._judge()
        self._look_back(queries.latest_run(self._engine))

    def close(self) -> None:
        """Stop watching and let the database go; runs go on."""
        self.view.stop()
        self._services.close()
        self.widget.close()

    def _arranged(self) -> widgets.VBox:
        history = widgets.Accordion([self.history], titles=("Run history",), selected_index=0)
        buttons = widgets.HBox([self.start, self.cancel, self.resume])
        parts = [self.form.by_stage(), self.estimate, buttons, self.chooser, self.view.widget, history]
        panel = widgets.VBox(parts, layout=widgets.Layout(grid_gap="8px"))
        panel.add_class("workbench-panel")
        return panel

    def _judge(self) -> None:
        """Show the estimate for the chosen parameters; Start is enabled only when all are valid."""
        checked = self.form.checked()
        self.start.disabled = checked is None or self._starting is not None
        if isinstance(checked, RunParameters):
            size = getattr(checked, PIPELINE.size)
            self.estimate.value = panel_view.estimate_html(size, estimate(self._past, size))
        else:
            self.estimate.value = "Fix the marked fields before starting; each tab can have some."

    def _start(self) -> None:
        checked = self.form.checked()
        if isinstance(checked, RunParameters):
            self._await(run_launcher.start(checked, self._settings), lambda key: queries.run_of_key(self._engine, key))

    def _resume(self) -> None:
        pipeline_id = self.view.pipeline_id
        if pipeline_id:
            self._await(run_launcher.resume(pipeline_id, self._settings), lambda _key: self._alive(pipeline_id))

    def _cancel(self) -> None:
        """Ask the owner of the run to stop; before there is a run, the process that is about to make it."""
        self.cancel.disabled = True
        if self._starting:
            self._starting.interrupt()
        elif self.view.pipeline_id:
            request_cancel(self._engine, self.view.pipeline_id)

    def _await(self, launch: Launch, find: Callable[[str], str | None]) -> None:
        """Wait, in a thread, until the process has its run, then show that; or say why there will be none."""
        self._starting = launch
        self.view.say(_STARTING)
        self.start.disabled, self.cancel.disabled, self.resume.disabled = True, False, True

        def wait() -> None:
            found, pause = find(launch.key), threading.Event()
            while found is None and launch.exit_code is None:
                pause.wait(_LOOK_SECONDS)
                found = find(launch.key)
            self._starting = None
            self._judge()
            if found is None:
                self.view.say(launch.last_words() or "The process ended before it recorded a run.", alert=True)
                self.cancel.disabled = True
            else:
                self._look_back(found)

        threading.Thread(target=wait, name="await run", daemon=True).start()

    def _alive(self, pipeline_id: str) -> str | None:
        return pipeline_id if queries.run_row(self._engine, pipeline_id)["status"] not in TERMINAL else None

    def _look_back(self, pipeline_id: str | None) -> None:
        """Read the history anew and show this run."""
        figures = queries.key_figures(self._engine, _HISTORY)
        self.history.value = panel_view.history_html(figures)
        self.chooser.unobserve(self._chosen, names="value")
        self.chooser.index = None  # else new options choose the first by themselves
        known = {row["pipeline_id"]: f"{row['pipeline_id']} · {row['trigger']}" for row in figures}
        if pipeline_id:
            known.setdefault(pipeline_id, pipeline_id)
        self.chooser.options = [(words, each) for each, words in known.items()]
        self.chooser.value = pipeline_id
        self.chooser.observe(self._chosen, names="value")
        self.cancel.disabled = self.resume.disabled = True
        if pipeline_id:
            self.view.watch(pipeline_id)
        else:
            self.view.say("There is no run yet. Start makes one.")

    def _chosen(self, change: Mapping[str, Any]) -> None:
        if change["new"]:
            self.view.watch(change["new"])

    def _seen(self, run: RunSnapshot) -> None:
        """Offer what can be done with the run as it is now (in the watcher's thread)."""
        if self._starting:
            return
        if run.document["status"] != self._status:
            self._status = run.document["status"]
            self._past = past_runs(self._engine)
            self.history.value = panel_view.history_html(queries.key_figures(self._engine, _HISTORY))
            self._judge()
        self.cancel.disabled = run.ended
        self.resume.disabled = not run.ended or run.document["status"] == RunStatus.COMPLETED


def _button(words: str, icon: str, style: str, action: Callable[[], None]) -> widgets.Button:
    button = widgets.Button(description=words, icon=icon, button_style=style, tooltip=words)
    button.on_click(lambda _button: action())
    button.add_class(f"workbench-{words.lower()}")
    return button
