"""The state of a run's cells is the same however its events are folded: one by one, in batches, or all at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.state.cell_states import CellState, CellStates, cell_states
from workbench.state.events import EventType
from workbench.state.models import PipelineEvent

STAGES = ("generate", "process")
Told = tuple[EventType, str | None, dict[str, Any]]


def log(told: Sequence[Told]) -> list[PipelineEvent]:
    return [
        PipelineEvent(
            id=uuid4(),
            pipeline_id="20261123t083012_a1b2c3",
            sequence=sequence,
            type=event_type.value,
            stage=stage,
            data=data,
            created_at=datetime(2026, 11, 23, tzinfo=UTC),
        )
        for sequence, (event_type, stage, data) in enumerate(told, 1)
    ]


def started(stage: str, cell: int, source: str = "work()") -> Told:
    return EventType.CELL_STARTED, stage, {"cell": cell, "cells": 3, "source": source}


def completed(stage: str, cell: int, seconds: float = 0.5) -> Told:
    return EventType.CELL_COMPLETED, stage, {"cell": cell, "seconds": seconds}


def failed(stage: str, cell: int, status: str = "failed") -> Told:
    return EventType.CELL_FAILED, stage, {"cell": cell, "status": status, "name": "KeyError", "message": "x"}


stages, numbers = st.sampled_from(STAGES), st.integers(1, 4)
told_events = st.lists(
    st.one_of(
        st.builds(lambda stage: (EventType.STAGE_STARTED, stage, {"interactive": False}), stages),
        st.builds(lambda stage: (EventType.STAGE_RETRYING, stage, {}), stages),
        st.just((EventType.RUN_STARTED, None, {})),
        st.builds(started, stages, numbers, st.sampled_from(["a = 1", "b = 2"])),
        st.builds(completed, stages, numbers, st.floats(0, 9)),
        st.builds(failed, stages, numbers, st.sampled_from(["failed", "killed", "timed_out", "cancelled"])),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(told_events, st.lists(st.integers(0, 40), max_size=6), st.integers(0, 5))
def test_one_by_one_in_batches_and_anew_give_the_same_state(told: list[Told], cuts: list[int], again: int) -> None:
    events = log(told)
    anew, single, batched = cell_states(events), CellStates(), CellStates()
    for event in events:
        single.fold([event])
    for start, end in pairwise(sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})):
        batched.fold(events[max(0, start - again) : end])
    assert single == batched == anew
    assert anew.sequence == len(events)
    assert list(single.stages) == list(batched.stages) == list(anew.stages)


@settings(deadline=None)
@given(told_events, stages)
def test_a_restart_of_a_stage_resets_its_cells_and_no_others(told: list[Told], stage: str) -> None:
    other = next(each for each in STAGES if each != stage)
    before = cell_states(log(told))
    after = cell_states(log([*told, (EventType.STAGE_STARTED, stage, {})]))
    assert after.stages[stage] == {}
    assert after.stages.get(other) == before.stages.get(other)


def test_a_resumed_run_keeps_the_cells_of_reused_stages_and_shows_the_new_attempt_of_the_others() -> None:
    first = [
        (EventType.STAGE_STARTED, "generate", {}),
        started("generate", 1),
        completed("generate", 1),
        (EventType.STAGE_STARTED, "process", {}),
        *(each for cell in (1, 2) for each in (started("process", cell), completed("process", cell))),
        started("process", 3),
        failed("process", 3, "killed"),
    ]
    crashed = cell_states(log(first))
    assert [cell.status for cell in crashed.stages["process"].values()] == ["completed", "completed", "killed"]
    resumed = cell_states(
        log(
            [
                *first,
                (EventType.STAGE_RETRYING, "process", {"status": "pending", "reason": "redone: it had crashed"}),
                (EventType.STAGE_REUSED, "generate", {}),
                (EventType.STAGE_STARTED, "process", {}),
                started("process", 1, "again()"),
            ]
        )
    )
    assert resumed.stages["generate"] == {1: CellState(1, "work()", "completed", 0.5)}
    assert resumed.stages["process"] == {1: CellState(1, "again()")}


def test_a_failed_cell_says_what_became_of_it_and_why() -> None:
    (cell,) = cell_states(log([started("process", 2), failed("process", 2, "timed_out")])).stages["process"].values()
    assert (cell.status, cell.seconds, cell.problem) == ("timed_out", None, "KeyError: x")
