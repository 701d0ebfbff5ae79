"""A run as its page shows it: the run's snapshot with the files it has left, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.base.settings import Settings
from workbench.stage.artefacts import RunFolder
from workbench.stage.run_parameters import STAGE_PARAMETERS
from workbench.state.cell_states import CellState
from workbench.state.models import PipelineEvent
from workbench.state.run_document import done_of
from workbench.state.run_snapshot import RunSnapshot
from workbench.state.states import StageStatus
from workbench.web.run_files import StageFiles, stage_files


@dataclass(frozen=True)
class StageView:
    """One stage: its document, its cells so far, and what it has left."""

    number: int
    title: str
    row: Mapping[str, Any]
    cells: list[CellState]
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
        """Whether its cells are unfolded at first."""
        return self.row["status"] in (StageStatus.RUNNING, StageStatus.FAILED, StageStatus.CRASHED)


@dataclass(frozen=True)
class RunView:
    """A whole run. `log` holds the events that are not about cells, `sequence` is the number of the last event."""

    document: Mapping[str, Any]
    stages: list[StageView]
    log: list[PipelineEvent]
    sequence: int
    ended: bool
    cancelling: bool
    running_seconds: float | None
    parameters: list[tuple[str, Any]] = field(default_factory=list)
    conservation: list[Mapping[str, Any]] = field(default_factory=list)


def run_view(settings: Settings, run: RunSnapshot) -> RunView:
    """Return what the run's page shows."""
    documents = run.document["stages"]
    return RunView(
        document=run.document,
        stages=[_stage_view(settings, run, *each) for each in zip(documents, run.stages, strict=True)],
        log=run.log,
        sequence=run.row["event_sequence"],
        ended=run.ended,
        cancelling=run.row["cancel_requested_at"] is not None and not run.ended,
        running_seconds=run.running_seconds,
        parameters=_parameters(run.document["parameters"]),
        conservation=[border for stage in documents for border in stage["conservation"]],
    )


def _parameters(stored: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the parameters in the order in which the form asks for them."""
    order = [name for model in STAGE_PARAMETERS.values() for name in model.model_fields]
    names = sorted(stored, key=lambda name: order.index(name) if name in order else len(order))
    return [(name, stored[name]) for name in names]


def _stage_view(settings: Settings, run: RunSnapshot, document: Mapping[str, Any], row: Mapping[str, Any]) -> StageView:
    name = row["name"]
    return StageView(
        number=row["position"],
        title=RunFolder(settings.home, row["pipeline_id"]).chain.title_of(name),
        row=document,
        cells=run.cells_of(name),
        files=stage_files(RunFolder(settings.home, row["pipeline_id"]), name, row),
        running_seconds=run.stage_seconds(name),
    )
