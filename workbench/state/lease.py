"""Keeps a run's lease while it is worked on, and hears of cancellation."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine, func, update
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import LeaseLost
from workbench.state.end_times import RUN_ENDS, end_running_stages
from workbench.state.events import Event, EventType, append
from workbench.state.models import Pipeline
from workbench.state.run_queue import cancel_waiting
from workbench.state.runs import OwnedRun
from workbench.state.states import ALIVE, RunStatus

log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_BY_HAND = {"name": "RunCancelled", "message": "cancelled; it was stepped through by hand"}


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
    renewer = threading.Thread(target=_renew, args=arguments, name=f"lease {run.pipeline_id}", daemon=True)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()


def _renew(run: OwnedRun, watch: Watch, ended: threading.Event, lost: Callable[[], None]) -> None:
    pause, renewed = min(_LOOK_SECONDS, run.lease_seconds / 3), time.monotonic()
    while not ended.wait(pause):
        try:
            if run.renew_lease():
                watch.stop.set()
            _tell_of_pause(run, time.monotonic() - renewed)
            renewed = time.monotonic()
        except LeaseLost:
            if not (ended.is_set() or run.ending.is_set()):
                lost()
            return
        except DBAPIError as error:
            log.warning("lease not renewed, trying again", extra={"error_type": type(error).__name__})


def _tell_of_pause(run: OwnedRun, seconds: float) -> None:
    if seconds > run.lease_seconds:
        fields = {"pipeline_id": run.pipeline_id, "seconds": round(seconds, 1)}
        log.warning("lease renewed late: this process or the database had stopped", extra=fields)


def request_cancel(engine: Engine, pipeline_id: str) -> bool:
    """Cancel a run that waits, or that a person steps through, at once; ask the owner of any other one to.

    Returns False when the run has ended already or does not exist.
    """
    if cancel_waiting(engine, pipeline_id) or _cancel_by_hand(engine, pipeline_id):
        return True
    where = (Pipeline.id == pipeline_id, Pipeline.status.in_(ALIVE))
    with engine.begin() as connection:
        asked = update(Pipeline).where(*where).values(cancel_requested_at=func.clock_timestamp())
        return connection.execute(asked).rowcount == 1


def _cancel_by_hand(engine: Engine, pipeline_id: str) -> bool:
    """Cancel a run that has no owner to ask; False when it has one, or has ended."""
    ending = {"finished_at": RUN_ENDS, "error": dict(_BY_HAND)}
    ownerless = (Pipeline.id == pipeline_id, Pipeline.status.in_(ALIVE), Pipeline.lease_owner.is_(None))
    cancelled = update(Pipeline).where(*ownerless).values(status=RunStatus.CANCELLED.value, **ending)
    with engine.begin() as connection:
        if connection.execute(cancelled).rowcount == 0:
            return False
        end_running_stages(connection, pipeline_id, RunStatus.CANCELLED, _BY_HAND)
        append(connection, pipeline_id, [Event(EventType.RUN_CANCELLED, _BY_HAND)])
    return True
