"""P10: broker, agent or Prefect gone, from the start or half-way, never changes what becomes of a run."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline_lib.tracking import queries
from tests.faults.bench import Bench
from tests.faults.invariants import leftovers, stored_problems
from tests.faults.looking import events_of

pytestmark = pytest.mark.promise("P10", "broker, agent or Prefect lost never changes a run's outcome")


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for each in held:
            each.close()


def test_a_run_completes_with_broker_silent_and_agent_and_prefect_gone(bench: Bench, spark_server: str) -> None:
    with silent_server() as port:
        run = bench.run(
            AMQP_URL=f"amqp://guest:guest@127.0.0.1:{port}/%2F",
            DD_AGENT_HOST="agent.invalid",
            PREFECT_API_URL="http://127.0.0.1:1/api",
        )
        assert run.wait(120) == 0, run.said()
    assert run.row["status"] == "completed"
    assert run.row["prefect_flow_run_id"] is None
    assert [*stored_problems(bench, run.pipeline_id), *leftovers(run)] == []
    assert queries.waiting_events(bench.engine) == len(events_of(bench.engine, run.pipeline_id))


def _has_begun(bench: Bench, pipeline_id: str, stage: str) -> bool:
    events = events_of(bench.engine, pipeline_id)
    return any(event["type"] == "stage.started" and event["stage"] == stage for event in events)
