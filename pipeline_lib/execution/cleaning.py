"""Removes old runs wholly: rows, schema and folder."""

from __future__ import annotations

import shutil

from sqlalchemy import Connection, Engine, delete, select

from pipeline_lib.artefacts import schema_of
from pipeline_lib.settings import Settings
from pipeline_lib.stages.publication import published_run, published_schemas
from pipeline_lib.tracking.lease import reap
from pipeline_lib.tracking.models import Pipeline
from pipeline_lib.tracking.states import TERMINAL


def clean_runs(engine: Engine, settings: Settings, keep: int) -> list[str]:
    """Remove ended runs but the `keep` newest and the published one; returns the ids of those removed.

    The rows go last: a cleaning that is interrupted is finished by the next one.
    """
    reap(engine)
    removable = _removable(engine, keep)
    for pipeline_id in removable:
        shutil.rmtree(settings.run_folder(pipeline_id).path, ignore_errors=False, onerror=_unless_missing)
        with engine.begin() as connection:
            _drop_schema(connection, schema_of(pipeline_id))
            connection.execute(delete(Pipeline).where(Pipeline.id == pipeline_id))
    return removable


def _removable(engine: Engine, keep: int) -> list[str]:
    ended = Pipeline.status.in_([status.value for status in TERMINAL])
    query = select(Pipeline.id).where(ended).order_by(Pipeline.created_at.desc(), Pipeline.id.desc()).offset(keep)
    with engine.begin() as connection:
        published = published_run(connection)
        return [pipeline_id for pipeline_id in connection.execute(query).scalars() if pipeline_id != published]


def _drop_schema(connection: Connection, schema: str) -> None:
    if schema in published_schemas(connection):  # the run before the published one, still read by old snapshots
        return
    quoted = connection.dialect.identifier_preparer.quote_identifier(schema)
    connection.exec_driver_sql(f"drop schema if exists {quoted} cascade")


def _unless_missing(_function: object, _path: str, problem: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(problem[1], FileNotFoundError):
        raise problem[1]
