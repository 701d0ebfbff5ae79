"""Removes old runs with rows, schemas and folder, and finds orphans: schemas and folders of runs without a row."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, select, text
from sqlalchemy.schema import DropSchema

from workbench.base.run_id import RUN_ID
from workbench.base.settings import Settings
from workbench.data.publication import published_runs, published_schemas
from workbench.data.run_schema import MARKER
from workbench.stage.artefacts import RunFolder, schema_of
from workbench.state.crash_detection import reap
from workbench.state.database_identity import identity_in, identity_of
from workbench.state.models import Pipeline, PipelineEvent
from workbench.state.publication_queue import pending_publications
from workbench.state.states import TERMINAL

# run_<id>, and run_<id>_p<n>: marts that were set aside for readers while the run made new ones.
_RUN_SCHEMA = re.compile(rf"run_({RUN_ID.pattern})(_p[0-9]+)?")


_RUN_SCHEMAS = text(
    "select nspname, obj_description(oid, 'pg_namespace') as comment from pg_namespace where nspname like 'run\\_%'"
)
_QUIET_SECONDS = 3600.0
_ENDED = [status.value for status in TERMINAL]


@dataclass(frozen=True)
class Orphans:
    """Schemas of this database and folders of this home that belong to no run's row. False when there are none.

    Only those that bear this database's identity and were not written to for an hour are listed. `unproven` are those
    of another database and of versions that left no identity: nothing removes them.
    """

    schemas: list[str]
    folders: list[Path]
    unproven: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.schemas or self.folders)


def clean_runs(engine: Engine, settings: Settings, keep: int) -> list[str]:
    """Remove ended runs but the `keep` newest, the published one, and those that wait to be published.

    Returns the ids of the removed runs. Where a broker is set, runs with undelivered events stay (`undelivered_runs`).
    Rows are removed last: the next call finishes an interrupted one. Marts that readers of `analytics`
    still see from an old snapshot stay until another publication; `find_orphans` finds them then.
    """
    reap(engine)
    waiting = undelivered_runs(engine, settings)
    old = [pipeline_id for pipeline_id in _removable(engine, keep) if pipeline_id not in waiting]
    return [pipeline_id for pipeline_id in old if _is_removed(engine, settings, pipeline_id)]


def undelivered_runs(engine: Engine, settings: Settings) -> set[str]:
    """Return the ended runs with events that the broker has not confirmed; none where no broker is set."""
    if settings.amqp_url is None:
        return set()
    query = (
        select(Pipeline.id)
        .join(PipelineEvent, PipelineEvent.pipeline_id == Pipeline.id)
        .where(PipelineEvent.published_at.is_(None), Pipeline.status.in_(_ENDED))
    )
    with engine.connect() as connection:
        return set(connection.execute(query.distinct()).scalars())


def _is_removed(engine: Engine, settings: Settings, pipeline_id: str) -> bool:
    """Remove one run unless it has been resumed meanwhile; a resume that begins now waits, and finds no run."""
    with engine.begin() as connection:
        ended = (Pipeline.id == pipeline_id, Pipeline.status.in_(_ENDED))
        if connection.execute(select(Pipeline.id).where(*ended).with_for_update()).first() is None:
            return False
        folder = RunFolder(settings.home, pipeline_id).path
        if identity_in(folder) in (None, identity_of(connection)):  # else this database is a copy, the folder not
            _remove_folder(folder)
        for schema in _schemas(connection):
            if schema.startswith(schema_of(pipeline_id)):
                _drop_schema(connection, schema)
        connection.execute(delete(Pipeline).where(Pipeline.id == pipeline_id))
    return True


def find_orphans(engine: Engine, settings: Settings, quiet_seconds: float = _QUIET_SECONDS) -> Orphans:
    """Return schemas and folders named like a run's that no row knows, but for schemas that readers still see.

    A run's row is committed before its folder and schema are made, so rows that are read last leave out no new run.
    """
    folders = sorted(folder for folder in (settings.home / "runs").glob("*") if RUN_ID.fullmatch(folder.name))
    with engine.connect() as connection:
        read, identity = published_schemas(connection), identity_of(connection)
        schemas = {row.nspname: row.comment for row in connection.execute(_RUN_SCHEMAS)}
        known = set(connection.execute(select(Pipeline.id)).scalars())
    runs = {schema: match[1] for schema in schemas if (match := _RUN_SCHEMA.fullmatch(schema))}
    lost = sorted(schema for schema, run in runs.items() if run not in known and schema not in read)
    left = [folder for folder in folders if folder.name not in known]
    own_schemas = [schema for schema in lost if identity and schemas[schema] == f"{MARKER}{identity}"]
    own_folders = [folder for folder in left if identity and identity_in(folder) == identity]
    unproven = [schema for schema in lost if schema not in own_schemas]
    unproven += [str(folder) for folder in left if folder not in own_folders]
    return Orphans(own_schemas, [folder for folder in own_folders if not _is_in_use(folder, quiet_seconds)], unproven)


def remove_orphans(engine: Engine, orphans: Orphans) -> None:
    """Remove what `find_orphans` has found and a person has agreed to, if it still is an orphan."""
    with engine.connect() as connection:
        known = set(connection.execute(select(Pipeline.id)).scalars())
    for folder in orphans.folders:
        if folder.name not in known:
            _remove_folder(folder)
    for schema in orphans.schemas:
        with engine.begin() as connection:
            _drop_schema(connection, schema)


def _is_in_use(folder: Path, quiet_seconds: float) -> bool:
    """Return whether a run's folder was written to lately: a process may be at work in it."""
    times = [folder.stat().st_mtime, *(path.lstat().st_mtime for path in folder.rglob("*"))]
    return time.time() - max(times) < quiet_seconds


def _removable(engine: Engine, keep: int) -> list[str]:
    query = select(Pipeline.id).where(Pipeline.status.in_(_ENDED)).order_by(Pipeline.number.desc()).offset(keep)
    with engine.begin() as connection:
        kept = published_runs(connection) | {row["pipeline_id"] for row in pending_publications(engine)}
        return [pipeline_id for pipeline_id in connection.execute(query).scalars() if pipeline_id not in kept]


def _schemas(connection: Connection) -> list[str]:
    return [row.nspname for row in connection.execute(_RUN_SCHEMAS)]


def _drop_schema(connection: Connection, schema: str) -> None:
    if schema in published_schemas(connection):  # the run before the published one, still read by old snapshots
        return
    connection.execute(DropSchema(schema, cascade=True, if_exists=True))


def _remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, onerror=_unless_missing)


def _unless_missing(_function: object, _path: str, problem: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(problem[1], FileNotFoundError):
        raise problem[1]
