"""Watchers hear of every event once and in order, whenever they come and whatever breaks; many cost what one costs."""

from __future__ import annotations

import json
import os
import select
import threading
from contextlib import ExitStack

import psycopg2
import pytest
from sqlalchemy import Engine, text

from tests.integration.service_watch import wait_until
from tests.web.by_hand import Worker
from tests.web.served import Page
from tests.web.sse import numbered, stream
from workbench.stage.pipeline import STAGE_NAMES
from workbench.state import queries
from workbench.web.broadcaster import Live


def _events(pipeline_id: str) -> str:
    return f"/api/v1/runs/{pipeline_id}/events"


def _last(engine: Engine, pipeline_id: str) -> int:
    return int(queries.run_row(engine, pipeline_id)["event_sequence"])


def test_a_watcher_hears_each_event_once_and_in_order(page: Page, worker: Worker) -> None:
    run = worker.started()
    with page.client() as client, stream(client, _events(run.pipeline_id)) as messages:
        working = threading.Thread(target=worker.stage, args=(run, "generate"))
        working.start()
        seen = numbered(messages, 9)
        working.join()
    assert seen == list(range(1, 10))


def test_who_comes_back_goes_on_where_he_stopped(page: Page, worker: Worker) -> None:
    run = worker.completed()
    last = _last(worker.engine, run.pipeline_id)
    with page.client() as client:
        with stream(client, _events(run.pipeline_id), **{"Last-Event-ID": "7"}) as messages:
            assert numbered(messages, last) == list(range(8, last + 1))
        with stream(client, f"{_events(run.pipeline_id)}?after=10") as messages:
            assert numbered(messages, last) == list(range(11, last + 1))


@pytest.mark.parametrize("number", ["9" * 5_000, "9" * 30, "x", "-1", "٣", ""])
def test_a_number_that_is_none_of_ours_is_as_good_as_no_number(page: Page, worker: Worker, number: str) -> None:
    run = worker.completed()
    headers = {"Last-Event-ID": number.encode(), "Accept": "text/event-stream"}
    with page.client() as client, client.stream("GET", f"{_events(run.pipeline_id)}?after=3", headers=headers) as told:
        assert told.status_code == 200
        assert next(line for line in told.iter_lines() if line.startswith("id:")) == "id: 4"


def test_a_run_that_is_written_while_watchers_come_and_go_has_no_gap_and_no_double(page: Page, worker: Worker) -> None:
    run = worker.started()
    working = threading.Thread(target=lambda: [worker.stage(run, stage) for stage in STAGE_NAMES])
    working.start()
    seen: list[int] = []
    with page.client() as client:
        while not seen or seen[-1] < 41:
            after = {"Last-Event-ID": str(seen[-1])} if seen else {}
            with stream(client, _events(run.pipeline_id), **after) as messages:
                seen += numbered(messages, min(len(seen) + 4, 41))
    working.join()
    assert seen == list(range(1, len(seen) + 1))


def test_progress_within_a_cell_comes_without_a_number(page: Page, worker: Worker) -> None:
    run = worker.started()
    run.stage_started("process")
    with page.client() as client, stream(client, _events(run.pipeline_id)) as messages:
        run.note_progress("process", {"cell": 3, "cells": 9, "records": 500, "total": 1000})
        found = next(message for message in messages if message.event == "progress")
    assert found.id is None
    assert found.data == {"stage": "process", "cell": 3, "cells": 9, "records": 500, "total": 1000}


def test_a_lost_database_connection_is_replaced_and_nothing_is_missed(page: Page, worker: Worker) -> None:
    run = worker.started()
    with page.client() as client, stream(client, _events(run.pipeline_id)) as messages:
        assert numbered(messages, 1) == [1]
        _cut_live_connections(worker.engine)
        worker.stage(run, "generate")
        assert numbered(messages, 9) == list(range(2, 10))


def _cut_live_connections(engine: Engine) -> None:
    with engine.begin() as connection:
        cut = connection.execute(
            text("""
                select pg_terminate_backend(pid) from pg_stat_activity
                where application_name = 'workbench live' and datname = current_database()
            """)
        )
        assert cut.rowcount == 1


def test_a_fault_that_nobody_meant_is_logged_and_neither_ends_nor_stops_a_stream(
    page: Page, worker: Worker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise KeyError("nonsense")

    run = worker.started()
    with page.client() as client, stream(client, _events(run.pipeline_id)) as messages:
        assert numbered(messages, 1) == [1]
        with monkeypatch.context() as broken:
            broken.setattr("workbench.web.app._look_after", fault)
            assert wait_until(lambda: "live pass failed" in caplog.text, 10)
            worker.stage(run, "generate")
            assert numbered(messages, 9) == list(range(2, 10))
        worker.stage(run, "ingest")
        assert numbered(messages, 17) == list(range(10, 18))
    assert "KeyError: 'nonsense'" in caplog.text
    assert caplog.text.count("live pass failed") < 10
    assert wait_until(page.app.state.context.live.connected.is_set, 10)


def test_a_hundred_watchers_cost_one_database_connection(page: Page, worker: Worker) -> None:
    run = worker.started()
    with ExitStack() as stack:
        client = stack.enter_context(page.client())
        streams = [stack.enter_context(stream(client, _events(run.pipeline_id))) for _ in range(100)]
        worker.stage(run, "generate")
        assert all(numbered(messages, 9) == list(range(1, 10)) for messages in streams)
        assert _connections(worker.engine, "workbench live") == 1


def _connections(engine: Engine, application: str) -> int:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_stat_activity where application_name = %s and datname = current_database()",
            [application],
        )
        row = cursor.fetchone()
    connection.close()
    assert row is not None
    return int(row[0])


def test_the_stream_of_a_run_that_is_cleaned_away_ends(page: Page, worker: Worker) -> None:
    run = worker.completed()
    with page.client() as client, stream(client, _events(run.pipeline_id)) as messages:
        next(messages)
        with worker.engine.begin() as connection:
            connection.execute(text("delete from pipelines where id = :id"), {"id": run.pipeline_id})
        list(messages)


def test_a_run_whose_owner_has_died_crashes_before_the_eyes_of_its_watchers(page: Page, worker: Worker) -> None:
    run = worker.started()
    with page.client() as client, stream(client, _events(run.pipeline_id)) as messages:
        with worker.engine.begin() as connection:
            connection.execute(text("update pipelines set lease_expires_at = clock_timestamp() - interval '1 s'"))
        types = [next(messages).data["type"] for _ in range(2)]
    assert types == ["run.started", "run.crashed"]


def test_who_watches_a_crashed_run_finds_its_notebook_finished_too(page: Page, worker: Worker) -> None:
    run = worker.started()
    run.stage_started("generate")
    worker.write_notebook(run, "generate")
    with page.client() as client, stream(client, _events(run.pipeline_id)) as messages:
        with worker.engine.begin() as connection:
            connection.execute(text("update pipelines set lease_expires_at = clock_timestamp() - interval '1 s'"))
        next(message for message in messages if message.data["type"] == "run.crashed")
        notebook = worker.folder(run, "generate") / "notebook.ipynb"
        assert wait_until(lambda: json.loads(notebook.read_text())["metadata"]["workbench"]["status"] == "killed", 30)


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_programs_that_do_not_stream_get_the_events_as_a_list(page: Page, worker: Worker, accept: str) -> None:
    run = worker.completed()
    with page.client(Accept=accept) as client:
        events = client.get(f"{_events(run.pipeline_id)}?after=2").json()["events"]
    assert [event["sequence"] for event in events] == list(range(3, _last(worker.engine, run.pipeline_id) + 1))


def test_the_page_is_sent_only_the_parts_that_change(page: Page, worker: Worker) -> None:
    run = worker.started()
    with page.client() as client, stream(client, f"/runs/{run.pipeline_id}/live") as messages:
        assert set(next(messages).data) == {"headline", "stages", "counts", "files", "log"}
        run.stage_started("ingest")
        changed = next(message.data for message in messages if "stages" in message.data)
        assert "counts" not in changed
        assert 'class="stage running"' in changed["stages"]


def test_who_leaves_after_the_end_writes_into_nobodys_file(engine: Engine, page: Page) -> None:
    live = Live(engine.url, page.app.state.context.live._make_topic, lambda _engine: None)
    live.start()
    live.stop()
    pipes = [os.pipe() for _ in range(4)]  # they get the numbers that the end has set free
    live._ask(lambda _engine: None)
    assert select.select([reading for reading, _ in pipes], [], [], 0)[0] == []
    for number in (number for pipe in pipes for number in pipe):
        os.close(number)
