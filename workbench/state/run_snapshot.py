"""A run as terminal, page and panel show it: its document, cells and log at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from workbench.base.settings import Settings
from workbench.stage.pipeline import StageName
from workbench.state import queries
from workbench.state.cell_states import RUNNING, CellState, CellStates, is_about_a_cell
from workbench.state.models import PipelineEvent
from workbench.state.run_document import document_of
from workbench.state.states import TERMINAL, RunStatus, StageStatus

_READS = 3


@dataclass(frozen=True)
class RunSnapshot:
    """A run at one moment. `row` and `stages` are its rows, `document` is what `workbench show --json` prints.

    `log` holds the events that are not about cells, `now` is the database's clock.
    """

    row: Mapping[str, Any]
    stages: list[queries.Row]
    document: dict[str, Any]
    now: datetime
    cells: Mapping[StageName, list[CellState]] = field(default_factory=dict)
    log: list[PipelineEvent] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return RunStatus(self.row["status"]) in TERMINAL

    @property
    def running_seconds(self) -> float | None:
        """Seconds of work so far, earlier attempts included; None for a run that is not running."""
        if self.ended or self.row["started_at"] is None:
            return None
        return float(self.row["seconds_before"]) + self._since(self.row["started_at"])

    def stage_seconds(self, stage: StageName) -> float | None:
        """Return the seconds since a running stage started; None for one that is not running."""
        row = self._stage_row(stage)
        return self._since(row["started_at"]) if row["status"] == StageStatus.RUNNING else None

    def cells_of(self, stage: StageName) -> list[CellState]:
        """Return the stage's cells; one that had not ended when the stage ended has the stage's status."""
        status = self._stage_row(stage)["status"]
        return [replace(cell, status=status) if cell.status == RUNNING else cell for cell in self.cells.get(stage, [])]

    def _stage_row(self, stage: StageName) -> queries.Row:
        return next(row for row in self.stages if row["name"] == stage)

    def _since(self, started: datetime) -> float:
        return max(0.0, (self.now - started).total_seconds())


class RunReader:
    """Reads one run again and again; of its events only those that it has not read yet."""

    def __init__(self, settings: Settings, pipeline_id: str) -> None:
        self.pipeline_id = pipeline_id
        self._settings = settings
        self._states = CellStates()
        self._log: list[PipelineEvent] = []

    def read(self, engine: Engine) -> RunSnapshot:
        """Return the run as it is now; raises `UnknownRun`.

        An event that is written between its queries makes it read again, so that all parts are of one moment. When the
        run is too busy for that, the parts are as new as the row says, or newer.
        """
        for _ in range(_READS):
            row = queries.run_row(engine, self.pipeline_id)
            stages = queries.stage_rows(engine, self.pipeline_id)
            document = document_of(engine, self._settings, row, stages)
            self._read_events(engine)
            if self._states.sequence == row["event_sequence"]:
                break
        cells = {stage: list(cells.values()) for stage, cells in self._states.stages.items()}
        return RunSnapshot(row, stages, document, queries.database_time(engine), cells, list(self._log))

    def _read_events(self, engine: Engine) -> None:
        events = queries.events_after(engine, self.pipeline_id, self._states.sequence)
        self._log += [event for event in events if not is_about_a_cell(event)]
        self._states.fold(events)


def read_run(engine: Engine, settings: Settings, pipeline_id: str) -> RunSnapshot:
    """Return the run as it is now; raises `UnknownRun`."""
    return RunReader(settings, pipeline_id).read(engine)
