"""The state of each cell of a run, folded from the run's events.

Terminal, page, panel, comparison and crash recovery all use this fold. It is incremental: each event is folded in once,
in the order of the sequence numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.stage.pipeline import StageName
from workbench.state.events import EventType
from workbench.state.models import PipelineEvent

RUNNING, COMPLETED, FAILED = "running", "completed", "failed"


@dataclass(frozen=True)
class CellState:
    """One code cell of a stage's latest attempt.

    `status` is running, completed, or what `cell.failed` says (failed, killed, timed_out, cancelled). `source` is the
    head of the cell's code, `seconds` the wall time of a completed cell.
    """

    number: int
    source: str = ""
    status: str = RUNNING
    seconds: float | None = None
    exception: str = ""
    message: str = ""

    @property
    def problem(self) -> str:
        """Exception and message of a cell that has not ended well; empty otherwise."""
        return f"{self.exception}: {self.message}".strip(": ")

    def after(self, event_type: str, data: Mapping[str, Any]) -> CellState:
        """Return the cell's state after one more of its events."""
        match event_type:
            case EventType.CELL_STARTED:
                return CellState(self.number, data.get("source", ""))
            case EventType.CELL_COMPLETED:
                return replace(self, status=COMPLETED, seconds=data["seconds"])
            case EventType.CELL_FAILED:
                ended = data.get("status", FAILED)
                return replace(self, status=ended, exception=data.get("name", ""), message=data.get("message", ""))
        return self


@dataclass
class CellStates:
    """The cells of each stage's latest attempt by number; stages in the order of their latest start.

    `sequence` is the number of the last event that is folded in.
    """

    sequence: int = 0
    stages: dict[StageName, dict[int, CellState]] = field(default_factory=dict)

    def fold(self, events: Iterable[PipelineEvent]) -> None:
        """Fold events in; they come in order, and an event that is folded already changes nothing."""
        for event in events:
            if event.sequence > self.sequence:
                self._take(event)
                self.sequence = event.sequence

    def _take(self, event: PipelineEvent) -> None:
        if event.stage is None:
            return
        if event.type == EventType.STAGE_STARTED:
            self.stages.pop(event.stage, None)
            self.stages[event.stage] = {}
        elif is_about_a_cell(event):
            number = event.data["cell"]
            cells = self.stages.setdefault(event.stage, {})
            cells[number] = cells.get(number, CellState(number)).after(event.type, event.data)


def is_about_a_cell(event: PipelineEvent) -> bool:
    """Return whether the event tells of a cell."""
    return event.type.startswith("cell.")


def cell_states(events: Iterable[PipelineEvent]) -> CellStates:
    """Return the state of all cells after a run's whole log."""
    states = CellStates()
    states.fold(events)
    return states
