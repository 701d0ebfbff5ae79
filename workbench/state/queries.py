"""Reads runs from the database. Readers also reap: a run whose lease has expired is shown as crashed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, RowMapping, case, func, select, text

from workbench.base.errors import UnknownRun
from workbench.base.run_id import checked_run_id
from workbench.stage.pipeline import Pipeline as Chain
from workbench.stage.pipeline import StageName
from workbench.state.crash_detection import reap
from workbench.state.database import patient
from workbench.state.models import Pipeline, PipelineEvent, PipelineStage
from workbench.state.states import STAGE_DONE, RunStatus

Row = dict[str, Any]


@patient
def run_row(engine: Engine, pipeline_id: str) -> Row:
    """Return the run's row; raises `UnknownRun`."""
    known = Pipeline.id == checked_run_id(pipeline_id)
    reap(engine)
    with engine.connect() as connection:
        row = connection.execute(select(Pipeline.__table__).where(known)).mappings().first()
    if row is None:
        raise UnknownRun(f"run {pipeline_id!r}: unknown; `workbench runs` lists them")
    return _plain(row)


@patient
def stage_rows(engine: Engine, pipeline_id: str) -> list[Row]:
    """Return the run's stages in their order."""
    query = (
        select(PipelineStage.__table__).where(PipelineStage.pipeline_id == pipeline_id).order_by(PipelineStage.position)
    )
    with engine.connect() as connection:
        return [_plain(row) for row in connection.execute(query).mappings()]


def latest_run(engine: Engine, done: StageName | None = None) -> str | None:
    """Return the newest run in which stage `done` has its result (None: the newest run at all)."""
    query = select(Pipeline.id).order_by(Pipeline.number.desc()).limit(1)
    if done is not None:
        query = query.join(PipelineStage).where(
            PipelineStage.name == done, PipelineStage.status.in_([status.value for status in STAGE_DONE])
        )
    with engine.connect() as connection:
        return connection.execute(query).scalar_one_or_none()


def run_of_key(engine: Engine, idempotency_key: str | None) -> str | None:
    """Return the run that was asked for with this key; None while there is none, and without a key."""
    if idempotency_key is None:
        return None
    query = select(Pipeline.id).where(Pipeline.idempotency_key == idempotency_key)
    with engine.connect() as connection:
        return connection.execute(query).scalar_one_or_none()


def runs_ready_for(engine: Engine, before: StageName | None, limit: int = 20) -> list[Row]:
    """Return the newest runs in which stage `before` has its result (None: any run), and which nobody owns now.

    A run in which a person has just finished that stage is as new as that: the next notebook goes on with it.
    """
    query = select(Pipeline.__table__).where(Pipeline.lease_owner.is_(None))
    newness: ColumnElement[int] = func.greatest(Pipeline.number)
    if before is not None:
        query = query.join(PipelineStage, PipelineStage.pipeline_id == Pipeline.id).where(*_has_result(before))
        by_hand = case((PipelineStage.interactive, PipelineStage.hand_number))
        newness = func.greatest(Pipeline.number, by_hand)
    with engine.connect() as connection:
        newest = query.order_by(newness.desc()).limit(limit)
        return [_plain(row) for row in connection.execute(newest).mappings()]


def open_copy(engine: Engine, origin: str, before: StageName | None) -> str | None:
    """Return the newest copy of a run that is open, by hand, with stage `before` done (None: any); else None."""
    is_open = (Pipeline.status == RunStatus.PENDING.value, Pipeline.lease_owner.is_(None))
    query = select(Pipeline.id).where(Pipeline.derived_from == origin, *is_open)
    if before is not None:
        query = query.join(PipelineStage, PipelineStage.pipeline_id == Pipeline.id).where(*_has_result(before))
    with engine.connect() as connection:
        newest = query.order_by(Pipeline.number.desc()).limit(1)
        return connection.execute(newest).scalar_one_or_none()


def _has_result(stage: StageName) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    done = [status.value for status in STAGE_DONE]
    return PipelineStage.name == stage, PipelineStage.status.in_(done)


def key_figures(engine: Engine, limit: int = 20) -> list[Row]:
    """Return the newest runs' key figures, newest first (SQL view `key_figures`)."""
    reap(engine)
    query = text("""
        select key_figures.* from key_figures join pipelines on pipelines.id = pipeline_id
        order by number desc limit :limit
    """)
    with engine.connect() as connection:
        return [_plain(row) for row in connection.execute(query, {"limit": limit}).mappings()]


def key_figures_before(engine: Engine, before: str | None, status: str | None, limit: int) -> list[Row]:
    """Return key figures of runs older than `before` (None: of the newest), newest first; only those of `status`."""
    reap(engine)
    query = text("""
        select key_figures.* from key_figures join pipelines on pipelines.id = pipeline_id
        where (cast(:before as text) is null or number < (select number from pipelines where id = :before))
            and (cast(:status as text) is null or key_figures.status = :status)
        order by number desc limit :limit
    """)
    with engine.connect() as connection:
        rows = connection.execute(query, {"before": before, "status": status, "limit": limit}).mappings()
        return [_plain(row) for row in rows]


@patient
def key_figures_of(engine: Engine, pipeline_id: str) -> Row:
    """Return one run's key figures."""
    query = text("select * from key_figures where pipeline_id = :pipeline_id")
    with engine.connect() as connection:
        return _plain(connection.execute(query, {"pipeline_id": pipeline_id}).mappings().one())


@patient
def events_after(engine: Engine, pipeline_id: str, sequence: int = 0, limit: int | None = None) -> list[PipelineEvent]:
    """Return the run's events with a higher sequence number, in order; `limit` of them at most."""
    table = PipelineEvent.__table__.c
    query = select(PipelineEvent.__table__).where(table.pipeline_id == pipeline_id, table.sequence > sequence)
    query = query.order_by(table.sequence).limit(limit)
    with engine.connect() as connection:
        return [PipelineEvent(**row) for row in connection.execute(query).mappings()]


@patient
def database_time(engine: Engine) -> datetime:
    """Return the time by the database's clock, which also sets when runs and stages start."""
    with engine.connect() as connection:
        return connection.execute(select(func.clock_timestamp())).scalar_one()


@patient
def waiting_events(engine: Engine) -> int:
    """Return how many events the broker has not confirmed yet."""
    query = select(func.count()).select_from(PipelineEvent).where(PipelineEvent.published_at.is_(None))
    with engine.connect() as connection:
        return connection.execute(query).scalar_one()


def returned_events(engine: Engine) -> int:
    """Return how many waiting events the broker gave back because no queue takes them; each holds up its run's."""
    waiting = (PipelineEvent.published_at.is_(None), PipelineEvent.returned_at.is_not(None))
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(PipelineEvent).where(*waiting)).scalar_one()


def chain_of(run: Mapping[str, Any]) -> Chain:
    """Return the chain that a run was begun with, from its row."""
    return Chain.of_snapshot(run["chain"])


def record_counts(chain: Chain, counts: Mapping[str, int]) -> dict[str, int | None]:
    """Return the run's key figures, None where no stage has counted yet."""
    return {
        figure: next((counts[name] for name in names if name in counts), None)
        for figure, names in chain.key_figures.items()
    }


def _plain(row: RowMapping) -> Row:
    return {str(name): value for name, value in row.items()}
