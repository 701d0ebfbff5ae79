"""A run as the page shows it: the document everybody shows, and its cells, files and log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from workbench.base.settings import Settings
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import stage_named
from workbench.stage.run_parameters import STAGE_PARAMETERS
from workbench.state import queries
from workbench.state.events import EventType
from workbench.state.models import PipelineEvent
from workbench.state.run_document import done_of, run_document
from workbench.state.states import TERMINAL, RunStatus, StageStatus
from workbench.web.run_files import StageFiles, stage_files

_CELL = "cell."
_LOOKS = 3


@dataclass
class CellView:
    """One cell of the latest attempt. `status` is as execution told it, running until then."""

    number: int
    head: str
    status: str = "running"
    seconds: float | None = None
    message: str = ""


@dataclass(frozen=True)
class StageView:
    """One stage: its row, its cells so far, and what it has left."""

    number: int
    title: str
    row: Mapping[str, Any]
    cells: list[CellView]
    files: StageFiles
    running_seconds: float | None

    @property
    def share(self) -> float | None:
        """How far the running cell is, 0 to 1, or None where that is not known."""
        total = self.row["progress"].get("total")
        return min(1.0, self.done / total) if total and self.done is not None else None

    @property
    def done(self) -> int | None:
        """How much the running cell has done, in the unit of its progress."""
        return done_of(self.row["progress"])

    @property
    def is_open(self) -> bool:
        """Whether a reader wants to see its cells without asking."""
        return self.row["status"] in (StageStatus.RUNNING, StageStatus.FAILED, StageStatus.CRASHED)


@dataclass(frozen=True)
class RunView:
    """A whole run. `log` are the events that are not about cells; `sequence` is the number of the last event of all."""

    document: Mapping[str, Any]
    stages: list[StageView]
    log: list[PipelineEvent]
    sequence: int
    ended: bool
    cancelling: bool
    running_seconds: float | None
    parameters: list[tuple[str, Any]] = field(default_factory=list)
    conservation: list[Mapping[str, Any]] = field(default_factory=list)


def run_view(engine: Engine, settings: Settings, pipeline_id: str) -> RunView:
    """Return everything the run's page shows; raises `UnknownRun`.

    What happens between its queries is another event: then it looks again, so that its parts tell of one moment.
    """
    for _ in range(_LOOKS - 1):
        view = _look(engine, settings, pipeline_id)
        if queries.run_row(engine, pipeline_id)["event_sequence"] == view.sequence:
            return view
    return _look(engine, settings, pipeline_id)


def _look(engine: Engine, settings: Settings, pipeline_id: str) -> RunView:
    # The row before the events: the page then shows at least what its sequence number says.
    row = queries.run_row(engine, pipeline_id)
    document = run_document(engine, settings, pipeline_id)
    events = queries.events_after(engine, pipeline_id)
    now = datetime.now(UTC)
    cells = _cells(events)
    stages = [
        _stage_view(document["stages"][index], stage, cells.get(stage["name"], []), settings, now)
        for index, stage in enumerate(queries.stage_rows(engine, pipeline_id))
    ]
    ended = RunStatus(document["status"]) in TERMINAL
    return RunView(
        document=document,
        stages=stages,
        log=[event for event in events if not event.type.startswith(_CELL)],
        sequence=row["event_sequence"],
        ended=ended,
        cancelling=row["cancel_requested_at"] is not None and not ended,
        running_seconds=None if ended or row["started_at"] is None else _worked(row, now),
        parameters=_parameters(document["parameters"]),
        conservation=[border for stage in document["stages"] for border in stage["conservation"]],
    )


def _parameters(stored: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the parameters in the order in which the form asks for them."""
    order = [name for model in STAGE_PARAMETERS.values() for name in model.model_fields]
    names = sorted(stored, key=lambda name: order.index(name) if name in order else len(order))
    return [(name, stored[name]) for name in names]


def _stage_view(
    shown: Mapping[str, Any], row: Mapping[str, Any], cells: list[CellView], settings: Settings, now: datetime
) -> StageView:
    name = row["name"]
    running = row["status"] == StageStatus.RUNNING
    for cell in cells:
        if cell.status == "running" and not running:
            cell.status = row["status"]
    return StageView(
        number=row["position"],
        title=stage_named(name).title,
        row=shown,
        cells=cells,
        files=stage_files(RunFolder(settings.home, row["pipeline_id"]), name, row),
        running_seconds=_since(row["started_at"], now) if running else None,
    )


def _cells(events: Iterable[PipelineEvent]) -> dict[str, list[CellView]]:
    """Return the cells of each stage's latest attempt, in the order in which they ran."""
    cells: dict[str, list[CellView]] = {}
    for event in events:
        if event.type == EventType.STAGE_STARTED and event.stage:
            cells[event.stage] = []
        elif event.type.startswith(_CELL) and event.stage:
            _take_cell(cells.setdefault(event.stage, []), event)
    return cells


def _take_cell(cells: list[CellView], event: PipelineEvent) -> None:
    data = event.data
    if event.type == EventType.CELL_STARTED:
        cells.append(CellView(data["cell"], data.get("source", "")))
        return
    cell = next((each for each in reversed(cells) if each.number == data["cell"]), None)
    if cell is None:
        return
    if event.type == EventType.CELL_COMPLETED:
        cell.status, cell.seconds = "completed", data["seconds"]
    else:
        cell.status = data.get("status", "failed")
        cell.message = f"{data.get('name', '')}: {data.get('message', '')}".strip(": ")


def _worked(row: Mapping[str, Any], now: datetime) -> float:
    """Return the seconds of work so far, earlier attempts among them: what will be the run's time when it ends now."""
    return float(row["seconds_before"]) + (_since(row["started_at"], now) or 0)


def _since(started: datetime | None, now: datetime) -> float | None:
    return max(0.0, (now - started).total_seconds()) if started else None
