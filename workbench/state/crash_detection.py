"""Finds runs whose owner has died, without taking a pause or a jump of the clock for a death.

A lease that has expired by the database's clock proves nothing by itself: a machine that slept, processes that were
stopped or a clock that was set leave living owners with expired leases, and they renew them within two seconds. So a
reader declares a run crashed only after it has watched the same lease unrenewed for a while on its own monotonic clock.
Between two looks at most half of that while counts, so that a pause of the reader counts for little.
"""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, or_, select, update

from workbench.state.database import was_away
from workbench.state.end_times import end_running_stages
from workbench.state.events import Event, EventType, append
from workbench.state.models import Pipeline
from workbench.state.states import ALIVE, RunStatus

CRASH = {"name": "Crashed", "message": "the process that ran it ended without a word"}
NEVER_BEGUN = {
    "name": "Crashed",
    "message": "nobody began to work it; `workbench doctor` tells whether a worker is there",
}
_WATCH_SECONDS = {RunStatus.RUNNING: 5.0, RunStatus.PENDING: 10.0}  # workers look at Prefect's queue every 5 s
_LONGEST_LEASE_SECONDS = 3600  # of leases from before their length was recorded
_SHARE_OF_LEASE = 0.8  # of a short one: a run is found within two leases of the death of its owner
_LOOK_SECONDS = 0.2
# A reader that has just met the database again leaves owners, who have waited for it as well, so long to renew.
_AFTER_OUTAGE_SECONDS = 10.0


@dataclass(frozen=True)
class DoubtfulLease:
    """A lease as it was read that has expired, or that ends later than any renewal can have set it."""

    pipeline_id: str
    status: RunStatus
    owner: uuid.UUID
    expires_at: datetime
    lease_seconds: int

    @property
    def watch_seconds(self) -> float:
        """How long it must be watched unrenewed: for two renewals of a living owner, and shorter than a lease."""
        return min(_WATCH_SECONDS[self.status], _SHARE_OF_LEASE * self.lease_seconds)


class _Watch:
    """What the readers of one engine have seen: for each doubtful lease the last look and the seconds watched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[DoubtfulLease, tuple[float, float]] = {}

    def look(self, leases: Iterable[DoubtfulLease]) -> list[DoubtfulLease]:
        """Note that these leases are doubtful now, and no others; returns those that were watched long enough."""
        now = time.monotonic()
        with self._lock:
            self._seen = {lease: (now, self._seconds(lease, now)) for lease in leases}
            return [lease for lease, (_, seconds) in self._seen.items() if seconds >= lease.watch_seconds]

    def is_undecided(self) -> bool:
        """Tell whether a lease has to be watched longer."""
        with self._lock:
            return any(seconds < lease.watch_seconds for lease, (_, seconds) in self._seen.items())

    def _seconds(self, lease: DoubtfulLease, now: float) -> float:
        if lease not in self._seen:
            return 0.0
        looked_at, seconds = self._seen[lease]
        return seconds + min(now - looked_at, lease.watch_seconds / 2)


_watches: weakref.WeakKeyDictionary[Engine, _Watch] = weakref.WeakKeyDictionary()


def reap(engine: Engine) -> list[str]:
    """Look once at all leases and turn runs whose lease was watched unrenewed for long enough into crashed ones.

    Returns the ids of these; returns at once. Readers that look again and again call this; `reap_patiently` is for
    those that look once. For ten seconds after `engine` had lost the database, which owners had, too, nothing counts.
    """
    watch = _watches.setdefault(engine, _Watch())
    doubtful = doubtful_leases(engine)
    if was_away(engine, _AFTER_OUTAGE_SECONDS):  # which the engine may have noticed just now
        doubtful = []
    return [lease.pipeline_id for lease in watch.look(doubtful) if declare_crashed(engine, lease)]


def reap_patiently(engine: Engine) -> list[str]:
    """Watch doubtful leases until each is renewed or its run has crashed: seconds at most, and only if there are any.

    Returns the ids of the crashed runs.
    """
    crashed = reap(engine)
    while _watches[engine].is_undecided():
        time.sleep(_LOOK_SECONDS)
        crashed += reap(engine)
    return crashed


def doubtful_leases(engine: Engine) -> list[DoubtfulLease]:
    """Return the leases that have expired or end too late, by the database's clock, each as it is now."""
    now = func.clock_timestamp()
    seconds = func.coalesce(Pipeline.lease_seconds, _LONGEST_LEASE_SECONDS)
    set_by_another_clock = Pipeline.lease_expires_at > now + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    query = select(Pipeline.id, Pipeline.status, Pipeline.lease_owner, Pipeline.lease_expires_at, seconds).where(
        Pipeline.status.in_(ALIVE),
        Pipeline.lease_owner.is_not(None),
        or_(Pipeline.lease_expires_at < now, set_by_another_clock),
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [DoubtfulLease(row[0], RunStatus(row[1]), *row[2:]) for row in rows]  # type: ignore[arg-type]  # none is null


def declare_crashed(engine: Engine, lease: DoubtfulLease) -> bool:
    """End the run of this lease as crashed; False when the lease is another now, or somebody is just deciding about it.

    It ended, at the latest, when its lease did, however much later that is found; never in the future.
    """
    error = dict(NEVER_BEGUN if lease.status is RunStatus.PENDING else CRASH)
    with engine.begin() as connection:
        same = (
            Pipeline.id == lease.pipeline_id,
            Pipeline.status == lease.status.value,
            Pipeline.lease_owner == lease.owner,
            Pipeline.lease_expires_at == lease.expires_at,
        )
        query = select(Pipeline.id).where(*same).with_for_update(skip_locked=True)
        if connection.execute(query).first() is None:
            return False
        ended = func.least(lease.expires_at, func.clock_timestamp())
        ending: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None, "error": error}
        ending["finished_at"] = func.greatest(Pipeline.started_at, ended)
        connection.execute(
            update(Pipeline).where(Pipeline.id == lease.pipeline_id).values(status=RunStatus.CRASHED.value, **ending)
        )
        end_running_stages(connection, lease.pipeline_id, RunStatus.CRASHED, error, ended)
        append(connection, lease.pipeline_id, [Event(EventType.RUN_CRASHED, error)])
    return True
