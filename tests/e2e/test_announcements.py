"""What others hear of a run: events on the broker, metrics at the agent, states in Prefect."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import Workbench
from tests.integration.test_relay import listening, received


@contextmanager
def agent() -> Iterator[tuple[int, list[str]]]:
    """A UDP socket that receives what DogStatsD would; yields its port and the metrics as they came."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(0.2)
    metrics: list[str] = []
    ended = threading.Event()

    def receive() -> None:
        while not ended.is_set():
            try:
                metrics.extend(server.recv(65_536).decode().splitlines())
            except TimeoutError:
                continue

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield server.getsockname()[1], metrics
    finally:
        ended.set()
        thread.join()
        server.close()


def parsed(line: str) -> tuple[str, str, frozenset[str]]:
    """Return name, type and tags of a DogStatsD line: name:value|type|#tag,tag."""
    head, kind, *rest = line.split("|")
    tags = next((part[1:].split(",") for part in rest if part.startswith("#")), [])
    return head.split(":", 1)[0], kind, frozenset(tags)


def test_events_and_metrics_of_a_run_arrive_as_they_are_written(elsewhere: Workbench, broker_url: str) -> None:
    with agent() as (port, metrics), listening(broker_url) as (channel, queue):
        environment = {"AMQP_URL": broker_url, "DD_AGENT_HOST": "127.0.0.1", "DD_DOGSTATSD_PORT": str(port)}
        run = elsewhere.json("run", "--records", "500", "--defect-rate", "0.05", **environment)
        heard = [body for _, body in received(channel, queue) if body["pipelineid"] == run["pipeline_id"]]
    table = elsewhere.json("events", run["pipeline_id"])
    assert [(event["id"], event["type"]) for event in heard] == [(event["id"], event["type"]) for event in table]
    assert [event["sequence"] for event in table] == list(range(1, len(table) + 1))
    assert all(event["published"] for event in table)
    types = Counter(event["type"] for event in table)
    assert types["run.started"] == types["run.completed"] == types["run.published"] == 1
    assert types["stage.started"] == types["stage.completed"] == 5
    assert types["dataset.ingested"] == types["dataset.exported"] == 1
    assert types["cell.started"] == types["cell.completed"] > 20
    check_metrics(metrics)


def check_metrics(lines: list[str]) -> None:
    found = [parsed(line) for line in lines]
    names = {name for name, _, _ in found if not name.startswith("datadog.")}
    assert names == {
        "pipeline.runs",
        "pipeline.duration",
        "pipeline.stage.duration",
        "pipeline.records_processed",
        "pipeline.records_rejected",
        "pipeline.success_rate",
        "pipeline.outbox_pending",
        "pipeline.publications_pending",
        "dbt.model.duration",
    }
    assert all({"service:notebook-workbench", "env:dev"} <= tags for name, _, tags in found if name in names)
    stages = {tag for name, _, tags in found if name == "pipeline.stage.duration" for tag in tags if "stage:" in tag}
    assert stages == {f"stage:{name}" for name in ("generate", "ingest", "process", "transform", "export")}


@pytest.mark.parametrize("arguments", [["--set", "max_reject_rate=0", "--defect-rate", "0.5"]])
def test_a_failed_run_is_counted_with_its_error(elsewhere: Workbench, arguments: list[str]) -> None:
    with agent() as (port, metrics):
        done = elsewhere("run", "--records", "50", *arguments, DD_DOGSTATSD_PORT=str(port))
    assert done.returncode == 1
    errors = [tags for name, _, tags in map(parsed, metrics) if name == "pipeline.errors"]
    assert len(errors) == 1
    assert {"stage:ingest", "error_type:TooManyRejects"} <= errors[0]
