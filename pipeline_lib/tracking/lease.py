"""Keeps a run's lease while it is worked on, hears of cancellation, and finds runs whose owner has died."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Engine, and_, func, select, update
from sqlalchemy.exc import DBAPIError

from pipeline_lib.errors import LeaseLost
from pipeline_lib.tracking.database import was_away
from pipeline_lib.tracking.endings import end_running_stages
from pipeline_lib.tracking.events import Event, EventType, append
from pipeline_lib.tracking.models import Pipeline
from pipeline_lib.tracking.runs import OwnedRun
from pipeline_lib.tracking.states import RunStatus
from pipeline_lib.tracking.waiting import cancel_waiting

log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
CRASH = {"name": "Crashed", "message": "the process that ran it ended without a word"}
NEVER_BEGUN = {
    "name": "Crashed",
    "message": "nobody began to work it; `workbench doctor` tells whether a worker is there",
}
_ALIVE = [RunStatus.PENDING.value, RunStatus.RUNNING.value]
_BY_HAND = {"name": "RunCancelled", "message": "cancelled; it was stepped through by hand"}

# While an owner's process lives and renews, its own looks at the database must not be faster than its renewer: after
# an outage, or when the process itself has slept, the lease is over for a moment.
_held_here: set[uuid.UUID | None] = set()
# Who has just met the database again leaves owners, who have waited for it as well, so long to renew.
_AFTER_OUTAGE_SECONDS = 10.0


@dataclass(frozen=True)
class Watch:
    """What the owner of a run has to heed.

    `stop` is set on cancellation and when the lease is lost, `kill` when somebody asks a second time: at once, then.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    kill: threading.Event = field(default_factory=threading.Event)
    lease_lost: threading.Event = field(default_factory=threading.Event)


@contextmanager
def held_lease(run: OwnedRun, watch: Watch | None = None) -> Iterator[Watch]:
    """Renew the run's lease in the background while the block lasts; losing it stops the work."""
    watch = watch or Watch()

    def lost() -> None:
        log.warning("lease lost", extra={"pipeline_id": run.pipeline_id})
        watch.lease_lost.set()
        watch.stop.set()

    with _renewing(run, watch, lost):
        yield watch


@contextmanager
def held_until_claimed(run: OwnedRun, watch: Watch) -> Iterator[None]:
    """Renew a pending run's lease, however long its work takes to begin; who claims it then renews its own."""
    with _renewing(run, watch, lambda: None):
        yield


@contextmanager
def _renewing(run: OwnedRun, watch: Watch, lost: Callable[[], None]) -> Iterator[None]:
    ended = threading.Event()
    arguments = (run, watch, ended, lost)
    ours = {run.owner} - {None}
    renewer = threading.Thread(target=_renew, args=arguments, name=f"lease {run.pipeline_id}", daemon=True)
    _held_here.update(ours)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        _held_here.difference_update(ours)


def _renew(run: OwnedRun, watch: Watch, ended: threading.Event, lost: Callable[[], None]) -> None:
    pause = min(_LOOK_SECONDS, run.lease_seconds / 3)
    while not ended.wait(pause):
        try:
            if run.renew_lease():
                watch.stop.set()
        except LeaseLost:
            if not (ended.is_set() or run.ending.is_set()):
                lost()
            return
        except DBAPIError as error:
            log.warning("lease not renewed, trying again", extra={"error_type": type(error).__name__})


def reap(engine: Engine) -> list[str]:
    """Turn runs whose lease has expired, by the database's clock, into crashed ones; returns their ids.

    They ended, at the latest, when their lease did, however much later somebody looks. Left alone are runs that this
    process itself holds, and all of them for ten seconds after `engine` had lost the database: their owners had, too.
    Whoever looks at runs calls this. Rows that another process is just deciding about are left to it.
    """
    crashed = []
    while (pipeline_id := _reap_one(engine)) is not None:
        crashed.append(pipeline_id)
    return crashed


def _reap_one(engine: Engine) -> str | None:
    with engine.begin() as connection:
        if was_away(engine, _AFTER_OUTAGE_SECONDS):  # which the engine may have noticed just now
            return None
        query = (
            select(Pipeline.id, Pipeline.status, Pipeline.lease_expires_at)
            .where(_is_expired())
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = connection.execute(query).first()
        if row is None:
            return None
        error = dict(NEVER_BEGUN if row.status == RunStatus.PENDING.value else CRASH)
        ended = func.greatest(Pipeline.started_at, row.lease_expires_at)
        ending = {"lease_owner": None, "lease_expires_at": None, "finished_at": ended, "error": error}
        connection.execute(
            update(Pipeline).where(Pipeline.id == row.id).values(status=RunStatus.CRASHED.value, **ending)
        )
        end_running_stages(connection, row.id, RunStatus.CRASHED, error, row.lease_expires_at)
        append(connection, row.id, [Event(EventType.RUN_CRASHED, error)])
    return str(row.id)


def _is_expired() -> ColumnElement[bool]:
    over = Pipeline.lease_expires_at < func.clock_timestamp()
    elsewhere = Pipeline.lease_owner.not_in(tuple(_held_here))  # a copy: other threads change it
    return and_(Pipeline.status.in_(_ALIVE), over, elsewhere)


def request_cancel(engine: Engine, pipeline_id: str) -> bool:
    """Cancel a run that waits, or that a person steps through, at once; ask the owner of any other one to.

    Returns False when the run has ended already or does not exist.
    """
    if cancel_waiting(engine, pipeline_id) or _cancel_by_hand(engine, pipeline_id):
        return True
    where = (Pipeline.id == pipeline_id, Pipeline.status.in_(_ALIVE))
    with engine.begin() as connection:
        asked = update(Pipeline).where(*where).values(cancel_requested_at=func.clock_timestamp())
        return connection.execute(asked).rowcount == 1


def _cancel_by_hand(engine: Engine, pipeline_id: str) -> bool:
    """Cancel a run that has no owner to ask; False when it has one, or has ended."""
    ending = {"finished_at": func.clock_timestamp(), "error": dict(_BY_HAND)}
    ownerless = (Pipeline.id == pipeline_id, Pipeline.status.in_(_ALIVE), Pipeline.lease_owner.is_(None))
    cancelled = update(Pipeline).where(*ownerless).values(status=RunStatus.CANCELLED.value, **ending)
    with engine.begin() as connection:
        if connection.execute(cancelled).rowcount == 0:
            return False
        end_running_stages(connection, pipeline_id, RunStatus.CANCELLED, _BY_HAND)
        append(connection, pipeline_id, [Event(EventType.RUN_CANCELLED, _BY_HAND)])
    return True
