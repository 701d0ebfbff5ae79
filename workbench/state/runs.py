"""Creates runs and lets one owner at a time write about them."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import IllegalTransition, LeaseLost
from workbench.base.run_id import new_run_id
from workbench.stage.artefacts import Manifest
from workbench.stage.pipeline import PIPELINE, STAGE_NAMES, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state.counts import NEXT_ATTEMPT, pending_stage, result_of, sum_up_counts
from workbench.state.database import patient
from workbench.state.end_times import RUN_ENDS, STAGE_ENDS, end_running_stages
from workbench.state.events import Event, EventType, append, is_written
from workbench.state.failpoints import reach
from workbench.state.models import Pipeline, PipelineStage
from workbench.state.states import TERMINAL, RunStatus, StageStatus, check_run_way

log = logging.getLogger(__name__)
_NOW = func.clock_timestamp()
Change = Callable[[Connection], object]


@dataclass(frozen=True)
class Origin:
    """Where a run comes from: `trigger` is cli, page, prefect, panel, or notebook for one that a person steps through.

    The key makes a repeated request one run. `derived_from` is the run of which the new one begins as a copy.
    """

    trigger: str
    idempotency_key: str | None = None
    derived_from: str | None = None


def create_run(engine: Engine, parameters: RunParameters, origin: Origin, lease_seconds: int | None) -> OwnedRun:
    """Write a pending run with its five stages and return it, owned by the caller for `lease_seconds`.

    Without a lease nobody owns it: a person steps through it by hand.
    """
    owner = uuid.uuid4() if lease_seconds else None
    run = OwnedRun(engine, new_run_id(), owner, lease_seconds or 0)
    fixed = parameters.started_at(datetime.now(UTC))
    with engine.begin() as connection:
        connection.execute(
            insert(Pipeline).values(
                id=run.pipeline_id,
                status=RunStatus.PENDING.value,
                trigger=origin.trigger,
                idempotency_key=origin.idempotency_key,
                derived_from=origin.derived_from,
                parameters=fixed.model_dump(mode="json"),
                chain=PIPELINE.snapshot,
                input_file=fixed.input_file or None,
                lease_owner=run.owner,
                lease_expires_at=run.lease_end() if owner else None,
                lease_seconds=lease_seconds,
            )
        )
        connection.execute(insert(PipelineStage), [pending_stage(run.pipeline_id, stage) for stage in STAGE_NAMES])
    reach("run_created")
    return run


def claim_run(engine: Engine, pipeline_id: str, lease_seconds: int) -> OwnedRun:
    """Take over a pending run from whoever created it; raises `IllegalTransition` when it is pending no more."""
    run = OwnedRun(engine, pipeline_id, uuid.uuid4(), lease_seconds)
    where = (Pipeline.id == pipeline_id, Pipeline.status == RunStatus.PENDING.value)
    values = {"lease_owner": run.owner, "lease_expires_at": run.lease_end(), "lease_seconds": lease_seconds}
    with engine.begin() as connection:
        claim = update(Pipeline).where(*where).values(**values).returning(Pipeline.attempt)
        attempt = connection.execute(claim).scalar_one_or_none()
    if attempt is None:
        raise IllegalTransition(f"run {pipeline_id} is not pending; nobody can start it")
    reach("run_claimed")
    return replace(run, attempt=attempt)


@dataclass(frozen=True)
class OwnedRun:
    """The right to write about one run. Every write is one transaction: the state and the event that tells of it.

    Every method raises `LeaseLost` once somebody else has decided about the run, and `IllegalTransition` for a way
    that does not exist. A database that restarts is waited for, up to a minute; a repeated write counts once.
    An `owner` of None may write while nobody owns the run: a person stepping through a notebook. `attempt` counts the
    run's attempts from 1; every resume opens the next. `ending` is set once this owner goes about to end the run:
    from then on the lease may be gone because nobody needs it any more.
    """

    engine: Engine
    pipeline_id: str
    owner: uuid.UUID | None
    lease_seconds: int
    attempt: int = 1
    ending: threading.Event = field(default_factory=threading.Event, compare=False)

    def lease_end(self) -> Any:
        """Return when a lease renewed now ends, as an expression on the database's clock."""
        return _NOW + timedelta(seconds=self.lease_seconds)

    def start(self, flow_run_id: str | None = None) -> None:
        """Set the run running; `flow_run_id` is Prefect's name for it."""
        values = {"started_at": _NOW, "prefect_flow_run_id": flow_run_id, "error": None}
        data = {"prefect_flow_run_id": flow_run_id, "attempt": self.attempt}
        self._move(RunStatus.RUNNING, Event(EventType.RUN_STARTED, data), values)
        reach("run_started")

    def complete(self, output_file: str | None, also: Change | None = None) -> None:
        """End the run well; `also` happens in the same transaction (the request to publish its marts)."""
        event = Event(EventType.RUN_COMPLETED, {"output_file": output_file})
        self._move(RunStatus.COMPLETED, event, {"output_file": output_file}, also)
        reach("run_ended")

    def end_badly(self, status: RunStatus, error: Mapping[str, Any]) -> None:
        """End the run as failed or cancelled, and say why; a stage that still runs ends with it."""

        def also(connection: Connection) -> None:
            end_running_stages(connection, self.pipeline_id, status, error)

        self._move(status, Event(EventType(f"run.{status}"), error), {"error": dict(error)}, also)

    def stage_started(self, stage: StageName, *, interactive: bool = False) -> int:
        """Open the next attempt of a stage; returns its number, from 1."""
        change = self._stage_change(stage, StageStatus.RUNNING, interactive=interactive, **NEXT_ATTEMPT)
        self.write([Event(EventType.STAGE_STARTED, {"interactive": interactive}, stage)], change)
        return self.attempt_of(stage)

    def stage_completed(self, stage: StageName, manifest: Manifest, announcement: Event | None = None) -> None:
        """Record a stage whose manifest has been verified, and what it announces to others."""
        event = Event(EventType.STAGE_COMPLETED, {"counts": manifest.counts}, stage)
        change = self._stage_change(stage, StageStatus.COMPLETED, finished_at=STAGE_ENDS, **result_of(manifest))
        self.write([event, *filter(None, [announcement])], change)

    def stage_reused(self, manifest: Manifest, reason: str, announcement: Event | None = None) -> None:
        """Record a stage that need not run, because its result is there and has been verified, and why."""
        stage = manifest.stage
        event = Event(EventType.STAGE_REUSED, {"reason": reason, "counts": manifest.counts}, stage)
        change = self._stage_change(stage, StageStatus.REUSED, reason=reason, error=None, **result_of(manifest))
        self.write([event, *filter(None, [announcement])], change)

    def stage_ended_badly(
        self,
        stage: StageName,
        status: StageStatus,
        error: Mapping[str, Any],
        counts: Mapping[str, int] | None = None,
        *,
        retrying: bool = False,
    ) -> None:
        """Record an attempt that failed or was cancelled, with its counts; `retrying` announces the next one."""
        events = [Event(EventType.STAGE_FAILED, {**error, "status": status}, stage)]
        if retrying:
            events.append(Event(EventType.STAGE_RETRYING, {}, stage))
        known = {"counts": dict(counts)} if counts else {}
        self.write(events, self._stage_change(stage, status, error=dict(error), finished_at=STAGE_ENDS, **known))

    def stage_passed(self, stage: StageName, status: StageStatus, reason: str) -> None:
        """Record a stage that has nothing to do: skipped, and why."""
        event = Event(EventType(f"stage.{status}"), {"reason": reason}, stage)
        self.write([event], self._stage_change(stage, status, reason=reason))

    def record(self, *events: Event) -> None:
        """Write events that change no state: cells."""
        self.write(events, lambda _connection: None)

    def note_progress(self, stage: StageName, progress: Mapping[str, Any]) -> None:
        """Show how far a stage is (cell, cells, records, total); lost without harm when the database is away."""
        change = self._stage_change(stage, StageStatus.RUNNING, progress=dict(progress))
        try:
            with self.engine.begin() as connection:
                self._check_owner(connection)
                change(connection)
        except DBAPIError as error:
            log.warning("progress not noted", extra={"error_type": type(error).__name__})

    def renew_lease(self) -> bool:
        """Extend the lease from the database's clock; returns whether somebody asked to cancel."""
        where = (Pipeline.id == self.pipeline_id, Pipeline.lease_owner == self.owner)
        renewal = update(Pipeline).where(*where).values(lease_expires_at=self.lease_end())
        with self.engine.begin() as connection:
            row = connection.execute(renewal.returning(Pipeline.cancel_requested_at)).first()
        if row is None:
            raise LeaseLost(f"run {self.pipeline_id}: no longer owned by this process")
        return row.cancel_requested_at is not None

    def _move(self, target: RunStatus, event: Event, values: Mapping[str, Any], also: Change | None = None) -> None:
        ending = {"lease_owner": None, "lease_expires_at": None, "finished_at": RUN_ENDS} if target in TERMINAL else {}

        def change(connection: Connection) -> None:
            check_run_way(self.pipeline_id, self._present(connection), target)
            if also is not None:
                also(connection)
            self._set_run(connection, status=target.value, **values, **ending)
            if target is RunStatus.COMPLETED:
                reach("run_completed")

        if target in TERMINAL:
            self.ending.set()
        self.write([event], change)

    @patient
    def write(self, events: Sequence[Event], change: Change) -> None:
        """Lock the run's row, check the owner, change, append the events, commit: all or nothing, and once."""
        with self.engine.begin() as connection:
            if events and is_written(connection, events[0]):
                return
            self._check_owner(connection)
            change(connection)
            append(connection, self.pipeline_id, events)

    def _check_owner(self, connection: Connection) -> None:
        where = Pipeline.id == self.pipeline_id
        owner = connection.execute(select(Pipeline.lease_owner).where(where).with_for_update()).scalar_one_or_none()
        if owner != self.owner:
            raise LeaseLost(f"run {self.pipeline_id}: no longer owned by this process; it writes nothing more")

    @patient
    def attempt_of(self, stage: StageName) -> int:
        """Return the number of the stage's latest attempt."""
        where = (PipelineStage.pipeline_id == self.pipeline_id, PipelineStage.name == stage)
        with self.engine.connect() as connection:
            return connection.execute(select(PipelineStage.attempt).where(*where)).scalar_one()

    def _present(self, connection: Connection) -> RunStatus:
        query = select(Pipeline.status).where(Pipeline.id == self.pipeline_id)
        return RunStatus(connection.execute(query).scalar_one())

    def _set_run(self, connection: Connection, **values: Any) -> None:
        connection.execute(update(Pipeline).where(Pipeline.id == self.pipeline_id).values(**values))

    def _stage_change(self, stage: StageName, status: StageStatus, **values: Any) -> Change:
        where = (PipelineStage.pipeline_id == self.pipeline_id, PipelineStage.name == stage)

        def change(connection: Connection) -> None:
            connection.execute(update(PipelineStage).where(*where).values(status=status.value, **values))
            if "counts" in values:
                sum_up_counts(connection, self.pipeline_id)

        return change
