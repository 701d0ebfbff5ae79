"""What the page does for one more event does not grow with the number of events that a run has had."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.web.by_hand import Worker
from workbench.state.events import Event, EventType
from workbench.state.run_snapshot import RunReader
from workbench.state.runs import OwnedRun
from workbench.web.broadcaster import Subscriber
from workbench.web.channels import EVENTS, PAGE, topic_maker
from workbench.web.rendering import run_parts, templates

CELLS = 1_000


@contextmanager
def rows_read(engine: Engine) -> Iterator[list[int]]:
    """Yield a list that takes the number of rows of each query in the block."""
    rows: list[int] = []

    def count(_connection: Any, cursor: Any, *_rest: Any) -> None:
        if cursor.description is not None:
            rows.append(cursor.rowcount)

    event.listen(engine, "after_cursor_execute", count)
    try:
        yield rows
    finally:
        event.remove(engine, "after_cursor_execute", count)


def cell(number: int) -> list[Event]:
    started = Event(EventType.CELL_STARTED, {"cell": number, "cells": CELLS, "source": "work()"}, "generate")
    return [started, Event(EventType.CELL_COMPLETED, {"cell": number, "seconds": 0.1}, "generate")]


def work(run: OwnedRun, *cells: int) -> None:
    run.write([each for number in cells for each in cell(number)], lambda _connection: None)


@pytest.mark.parametrize("kind", [PAGE, EVENTS])
def test_one_more_event_costs_the_same_rows_after_2000_cell_events(worker: Worker, kind: str) -> None:
    run = worker.started()
    run.stage_started("generate")
    environment = templates()
    make_topic = topic_maker(
        worker.settings, lambda each: run_parts(environment, worker.settings, worker.actions(), each)
    )

    async def follow() -> tuple[list[int], list[int]]:
        topic, subscriber = make_topic(kind, run.pipeline_id), Subscriber(0)
        topic.subscribers.append(subscriber)
        topic.welcome(worker.engine, subscriber)
        work(run, 1)
        with rows_read(worker.engine) as early:
            topic.refresh(worker.engine)
        work(run, *range(2, CELLS + 1))
        topic.refresh(worker.engine)
        work(run, CELLS + 1)
        with rows_read(worker.engine) as late:
            topic.refresh(worker.engine)
        return early, late

    early, late = asyncio.run(follow())
    assert late == early
    assert 2 <= sum(late) < 20


def test_a_reader_that_has_followed_sees_what_a_new_one_sees(worker: Worker) -> None:
    run = worker.started()
    following = RunReader(worker.settings, run.pipeline_id)
    for stage in ("generate", "ingest"):
        worker.stage(run, stage, between=lambda: following.read(worker.engine))
    run.stage_started("process")
    worker.cell(run, "process", 1)
    followed = following.read(worker.engine)
    anew = RunReader(worker.settings, run.pipeline_id).read(worker.engine)
    assert followed.cells == anew.cells
    assert [len(anew.cells[stage]) for stage in ("generate", "ingest", "process")] == [3, 3, 1]
    assert [each.sequence for each in followed.log] == [each.sequence for each in anew.log]
    assert followed.document == anew.document
    assert followed.row["event_sequence"] == anew.row["event_sequence"]
