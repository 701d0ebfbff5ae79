"""Reconciles Prefect's flow runs with our runs after either side was away.

PostgreSQL decides about runs that have begun: a run that ended there ends in Prefect. Prefect decides about queued
ones: whether a run still waits, was cancelled in the queue, or could not be started.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectException
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from workbench.base.settings import Settings
from workbench.prefect.api import FLOW
from workbench.prefect.states import TYPES, state_of
from workbench.run.crash_recovery import look_after
from workbench.run.publisher import publish_due
from workbench.state.lease import request_cancel
from workbench.state.run_queue import end_waiting, keep_waiting, runs_in_prefect
from workbench.state.states import RunStatus

log = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0
_LOOK_BACK_SECONDS = 3600.0
_SETTLED_SECONDS = 30.0  # a flow that has just ended its run may take so long to report to Prefect itself
_PAGE = 200
_NOT_ENDED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
Row = Mapping[str, Any]


@contextmanager
def mirroring(engine: Engine, settings: Settings) -> Iterator[None]:
    """Compare the two every few seconds in the background during the block, and recover crashed runs."""
    ended = threading.Event()
    thread = threading.Thread(target=_mirror_until, args=(engine, settings, ended), name="mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def mirror_once(engine: Engine, settings: Settings) -> None:
    """Compare once in a daemon thread: a run in the foreground so reports to Prefect how earlier runs have ended.

    The caller does not wait, so a Prefect that does not answer delays nothing.
    """
    threading.Thread(target=_compare, args=(engine, settings), name="mirror once", daemon=True).start()


def _mirror_until(engine: Engine, settings: Settings, ended: threading.Event) -> None:
    while not ended.wait(_LOOK_SECONDS):
        _compare(engine, settings)


def _compare(engine: Engine, settings: Settings) -> None:
    try:
        with get_client(sync_client=True) as client:
            look_after(engine, settings)
            publish_due(engine, paced=True)
            mirror(engine, client)
    except (httpx.HTTPError, PrefectException, DBAPIError) as error:
        log.warning("runs not compared with Prefect", extra={"error_type": type(error).__name__})
    except Exception:  # the thread continues: waiting runs of workers depend on it
        log.exception("runs not compared with Prefect")


def mirror(engine: Engine, client: SyncPrefectClient) -> None:
    """Compare once, and correct what differs."""
    flow_runs = {str(flow_run.id): flow_run for flow_run in _not_ended(client)}
    named = {_named_run(flow_run) for flow_run in flow_runs.values()} - {""}
    rows = runs_in_prefect(engine, named, list(flow_runs), _LOOK_BACK_SECONDS)
    flow_runs |= _read(client, {row["prefect_flow_run_id"] for row in rows} - {None} - set(flow_runs))
    pairs = [(row, flow_run) for row in rows for flow_run in flow_runs.values() if _belong_together(row, flow_run)]
    keep_waiting(engine, [row["id"] for row, flow_run in pairs if _in_queue(flow_run)])
    for row, flow_run in pairs:
        _align(engine, client, row, flow_run)


def report_end(client: SyncPrefectClient, row: Row) -> None:
    """Set the flow run's state to the end of its run, and that of its tasks that seem to go on."""
    state = state_of(row)
    if state is None:
        return
    flow_run_id = UUID(row["prefect_flow_run_id"])
    client.set_flow_run_state(flow_run_id, state, force=True)
    its = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[flow_run_id]))
    types = filters.TaskRunFilterState(type=filters.TaskRunFilterStateType(any_=_NOT_ENDED))
    for task_run in client.read_task_runs(flow_run_filter=its, task_run_filter=filters.TaskRunFilter(state=types)):
        client.set_task_run_state(task_run.id, state_of(row), force=True)


def _align(engine: Engine, client: SyncPrefectClient, row: Row, flow_run: FlowRun) -> None:
    theirs, status = _type_of(flow_run), RunStatus(row["status"])
    if status in TYPES:
        lost = status is RunStatus.CRASHED or theirs is StateType.SCHEDULED
        just_ended = 0 <= row["ended_for"] <= _SETTLED_SECONDS  # below 0: the clock was set back meanwhile
        if theirs is not TYPES[status] and (lost or not just_ended):
            report_end(client, {**row, "prefect_flow_run_id": str(flow_run.id)})
    elif theirs is StateType.CANCELLING:
        request_cancel(engine, row["id"])
    elif theirs not in _NOT_ENDED:
        message = (flow_run.state.message if flow_run.state else None) or "Prefect ended it before it began"
        end = RunStatus.CANCELLED if theirs is StateType.CANCELLED else RunStatus.CRASHED
        end_waiting(engine, row["id"], end, {"name": f"Prefect{end.value.title()}", "message": message})


def _not_ended(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """Return the flow's runs that are due (a schedule's future ones are not) and have not ended."""
    due = filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC))  # type: ignore[arg-type]  # a datetime is one
    types = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=_NOT_ENDED))
    wanted = filters.FlowRunFilter(state=types, expected_start_time=due)
    ours = filters.FlowFilter(name=filters.FlowFilterName(any_=[FLOW]))
    offset = 0
    while page := client.read_flow_runs(flow_filter=ours, flow_run_filter=wanted, limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)


def _read(client: SyncPrefectClient, flow_run_ids: Collection[str]) -> dict[str, FlowRun]:
    known: dict[str, FlowRun] = {}
    ids = [UUID(flow_run_id) for flow_run_id in sorted(flow_run_ids)]
    for first in range(0, len(ids), _PAGE):
        these = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=ids[first : first + _PAGE]))
        known |= {str(flow_run.id): flow_run for flow_run in client.read_flow_runs(flow_run_filter=these)}
    return known


def _belong_together(row: Row, flow_run: FlowRun) -> bool:
    if row["prefect_flow_run_id"] is not None:
        return bool(row["prefect_flow_run_id"] == str(flow_run.id))
    return bool(row["id"] == _named_run(flow_run))


def _named_run(flow_run: FlowRun) -> str:
    return str(flow_run.parameters.get("pipeline_id") or "")


def _type_of(flow_run: FlowRun) -> StateType | None:
    return flow_run.state.type if flow_run.state else None


def _in_queue(flow_run: FlowRun) -> bool:
    return _type_of(flow_run) is StateType.SCHEDULED
