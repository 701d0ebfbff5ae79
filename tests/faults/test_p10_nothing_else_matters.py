"""P10: broker, agent or Prefect gone, from the start or half-way, never changes what becomes of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import pika
import pytest
from sqlalchemy import text

from tests.faults.bench import Bench, until
from tests.faults.cutting import Line, cutting_proxy
from tests.faults.invariants import check_invariants, leftovers, stored_problems
from tests.faults.looking import events_of
from tests.faults.silence import silent_server
from workbench.state import queries
from workbench.state.relay import relaying

pytestmark = pytest.mark.promise("P10", "broker, agent or Prefect lost never changes a run's outcome")


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


def test_a_run_completes_when_prefect_and_then_the_broker_go_away_half_way(
    bench: Bench, spark_server: str, broker_url: str
) -> None:
    with a_line_to(bench.settings.prefect_api_url) as prefect, a_line_to(broker_url) as broker:
        run = bench.run(
            PREFECT_API_URL=f"http://127.0.0.1:{prefect.port}/api",
            AMQP_URL=f"amqp://guest:guest@127.0.0.1:{broker.port}/%2F",
        )
        for stage, line in (("ingest", prefect), ("transform", broker)):
            until(lambda stage=stage: _has_begun(bench, run.pipeline_id, stage), f"stage {stage} begins")
            line.cut()
        assert run.wait() == 0, run.said()
    settled_long_ago(bench)  # from then on whoever compares tells Prefect the end that it has missed
    assert check_invariants(run)["status"] == "completed"
    with relaying(bench.engine, pika.URLParameters(broker_url)):
        until(lambda: queries.waiting_events(bench.engine) == 0, "the next relay delivers what waits")


def a_line_to(url: str | None) -> AbstractContextManager[Line]:
    """Return a line to the server at `url` that can be cut."""
    return cutting_proxy(urlsplit(url or "").port or 0, Line())


def settled_long_ago(bench: Bench) -> None:
    """Put the ends of all runs so far back that no flow can be about to tell Prefect of them itself."""
    with bench.engine.begin() as connection:
        connection.execute(text("update pipelines set finished_at = finished_at - interval '1 minute'"))


def _has_begun(bench: Bench, pipeline_id: str, stage: str) -> bool:
    events = events_of(bench.engine, pipeline_id)
    return any(event["type"] == "stage.started" and event["stage"] == stage for event in events)
