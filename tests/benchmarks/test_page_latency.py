"""How soon a cell's end is on the screen, beside a bare LISTEN on the database in the same run. Asserts no time.

Run with `pytest -m benchmark -s tests/benchmarks/test_page_latency.py`; RUNS says how many runs of 100 cells (3).
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import psycopg2
import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine

from tests.web.browsing import chromium, needs_browser, tab
from tests.web.by_hand import Worker
from tests.web.served import Page
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.state.events import CHANNEL, Event, EventType
from workbench.state.runs import OwnedRun

pytestmark = [pytest.mark.benchmark, needs_browser, pytest.mark.timeout(900)]
RUNS = int(os.environ.get("RUNS", "3"))
CELLS = 20
PAUSE = 0.1
SCREEN = """() => {
  window.ended = {};
  const look = () => {
    const now = performance.timeOrigin + performance.now();
    for (const each of document.querySelectorAll(".cell.completed")) window.ended[each.id] ??= now;
  };
  new MutationObserver(() => requestAnimationFrame(look)).observe(document.querySelector("#stages"), {
    subtree: true, childList: true, attributes: true,
  });
}"""


@contextmanager
def heard(engine: Engine) -> Iterator[dict[tuple[str, int], float]]:
    """Yield when each event of each run was heard of on a connection that does nothing else: the floor."""
    moments: dict[tuple[str, int], float] = {}
    ended = threading.Event()
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"listen {CHANNEL}")

        def listen() -> None:
            while not ended.is_set():
                if select.select([connection], [], [], 0.2)[0]:
                    connection.poll()
                    for note in connection.notifies:
                        run, _, last = note.payload.partition(" ")
                        moments.setdefault((run, int(last)), time.time())
                    connection.notifies.clear()

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield moments
        finally:
            ended.set()
            thread.join()


def worked(run: OwnedRun) -> dict[tuple[StageName, int], tuple[int, float]]:
    """Work the run's cells; returns of each the number of the event that ended it, and when it was about to be told."""
    told: dict[tuple[StageName, int], tuple[int, float]] = {}
    sequence = 1
    for stage in STAGE_NAMES:
        run.stage_started(stage)
        for cell in range(1, CELLS + 1):
            run.record(Event(EventType.CELL_STARTED, {"cell": cell, "cells": CELLS, "source": "work()"}, stage))
            time.sleep(PAUSE)
            sequence += 2
            told[stage, cell] = sequence + 1, time.time()
            run.record(Event(EventType.CELL_COMPLETED, {"cell": cell, "seconds": PAUSE}, stage))
            time.sleep(PAUSE)
        sequence += 1
    return told


def shown(what: str, milliseconds: list[float]) -> None:
    half, most, worst = np.percentile(milliseconds, [50, 95, 100])
    print(f"{what:<28}{half:7.1f} ms median {most:7.1f} ms p95 {worst:7.1f} ms at the most, {len(milliseconds)} cells")


def test_a_cells_end_on_the_screen(page: Page, worker: Worker) -> None:
    on_screen: list[float] = []
    floor: list[float] = []
    with heard(worker.engine) as moments, chromium() as browser:
        for _ in range(RUNS):
            run = worker.started()
            with tab(browser) as opened:
                opened.goto(f"{page.url}/runs/{run.pipeline_id}")
                opened.evaluate(SCREEN)
                told = worked(run)
                expect(opened.locator(".cell.completed")).to_have_count(len(told))
                ended = opened.evaluate("() => new Promise(done => requestAnimationFrame(() => done(window.ended)))")
            for (stage, cell), (sequence, moment) in told.items():
                on_screen.append(ended[f"cell-{stage}-1-{cell}"] - moment * 1000)
                floor.append((moments[run.pipeline_id, sequence] - moment) * 1000)
    print()
    shown("a bare LISTEN", floor)
    shown("the screen", on_screen)
    assert len(on_screen) == len(floor) == RUNS * CELLS * len(STAGE_NAMES)
