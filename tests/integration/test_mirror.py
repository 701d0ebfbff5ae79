"""Prefect's flow runs and our runs tell the same story, also when one of them was away."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelling, Crashed, Running
from sqlalchemy import Engine, text

from flows.pipeline import pipeline
from workbench.prefect.reconciliation import mirror
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.crash_detection import reap_patiently
from workbench.state.run_queue import note_flow_run, request_run
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import RunStatus


def _running(engine: Engine, client: SyncPrefectClient) -> tuple[OwnedRun, FlowRun]:
    run = create_run(engine, RunParameters(), Origin("cli"), 3)
    flow_run = client.create_flow_run(pipeline, parameters={"pipeline_id": run.pipeline_id}, state=Running())
    run.start(str(flow_run.id))
    return run, flow_run


def _state(client: SyncPrefectClient, flow_run: FlowRun) -> StateType | None:
    state = client.read_flow_run(flow_run.id).state
    return state.type if state else None


def _long_ago(engine: Engine, column: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"update pipelines set {column} = clock_timestamp() - interval '10 minutes'"))


def test_a_run_that_crashed_crashes_in_prefect(engine: Engine, client: SyncPrefectClient) -> None:
    run, flow_run = _running(engine, client)
    _long_ago(engine, "lease_expires_at")
    assert reap_patiently(engine) == [run.pipeline_id]
    mirror(engine, client)
    assert _state(client, flow_run) is StateType.CRASHED


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_a_run_that_ended_while_prefect_was_away_ends_there_later(
    engine: Engine, client: SyncPrefectClient, end: str
) -> None:
    run, flow_run = _running(engine, client)
    if end == "completed":
        run.complete(None)
    else:
        run.end_badly(RunStatus(end), {"name": "Reason", "message": "for a reason"})
    mirror(engine, client)
    assert _state(client, flow_run) is StateType.RUNNING, "its flow may be about to tell Prefect itself"
    _long_ago(engine, "finished_at")
    mirror(engine, client)
    assert _state(client, flow_run) is StateType(end.upper())
    assert client.read_flow_run(flow_run.id).state.message == (None if end == "completed" else "for a reason")


@pytest.mark.promise("P23", "pauses and clock jumps kill no living run and hide no result")
def test_a_clock_that_was_set_back_hides_no_end_from_prefect(engine: Engine, client: SyncPrefectClient) -> None:
    run, flow_run = _running(engine, client)
    run.complete(None)
    with engine.begin() as connection:
        connection.execute(text("update pipelines set finished_at = clock_timestamp() + interval '1 hour'"))
    mirror(engine, client)
    assert _state(client, flow_run) is StateType.COMPLETED


def test_cancelling_in_prefect_asks_the_owner_to_stop(engine: Engine, client: SyncPrefectClient) -> None:
    run, flow_run = _running(engine, client)
    client.set_flow_run_state(flow_run.id, Cancelling())
    mirror(engine, client)
    assert run.renew_lease(), "the owner hears of it with its next renewal"


def test_a_run_that_prefect_could_not_bring_to_life_has_crashed(engine: Engine, client: SyncPrefectClient) -> None:
    run = request_run(engine, RunParameters(), Origin("page"))
    assert run is not None
    flow_run = client.create_flow_run(pipeline, state=Crashed(message="no such interpreter"))
    note_flow_run(engine, run.pipeline_id, str(flow_run.id))
    mirror(engine, client)
    row = queries.run_row(engine, run.pipeline_id)
    assert (row["status"], row["error"]["message"]) == ("crashed", "no such interpreter")


def test_a_running_run_goes_on_whatever_prefect_believes(engine: Engine, client: SyncPrefectClient) -> None:
    run, flow_run = _running(engine, client)
    client.set_flow_run_state(flow_run.id, Crashed(message="not seen for a while"), force=True)
    mirror(engine, client)
    assert queries.run_row(engine, run.pipeline_id)["status"] == "running"
    run.complete(None)
    _long_ago(engine, "finished_at")
    mirror(engine, client)
    assert _state(client, flow_run) is StateType.COMPLETED
