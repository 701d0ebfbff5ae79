"""Completed runs with small marts, and what others do to the schema that shows them to readers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text

from workbench.data.publication import MARTS
from workbench.services.postgres_server import programs
from workbench.stage.artefacts import schema_of
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.publication_queue import publication_of, request_publication
from workbench.state.runs import Origin, OwnedRun, create_run

SCHEMA = "analytics"
COLUMNS = "{run} as run, 7 as amount"


def started_run(engine: Engine) -> OwnedRun:
    run = create_run(engine, RunParameters(), Origin("cli"), 60)
    run.start()
    return run


def complete(run: OwnedRun, columns: str = COLUMNS, schema: str = SCHEMA) -> str:
    """Give the run its marts, one row each, and complete it; returns its id."""
    marts = schema_of(run.pipeline_id)
    selected = columns.format(run=f"cast('{run.pipeline_id}' as text)")
    with run.engine.begin() as connection:
        connection.exec_driver_sql(f"create schema if not exists {marts}")
        for mart in MARTS:
            connection.exec_driver_sql(f"create table {marts}.{mart} as select {selected}")
    run.complete("out.json", also=lambda connection: request_publication(connection, run.pipeline_id, schema))
    return run.pipeline_id


def completed_run(engine: Engine, columns: str = COLUMNS, schema: str = SCHEMA) -> str:
    return complete(started_run(engine), columns, schema)


def seen(engine: Engine, schema: str = SCHEMA) -> set[str]:
    """Return the runs that the views show together."""
    union = " union ".join(f"select run from {schema}.{mart}" for mart in MARTS)
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(union).scalars())


def status_of(engine: Engine, pipeline_id: str) -> tuple[str, str]:
    """Return the status of the run and that of its publication."""
    publication = publication_of(engine, pipeline_id)
    assert publication is not None
    return queries.run_row(engine, pipeline_id)["status"], publication["status"]


def connected(url: str) -> Engine:
    """Return an engine on a database whose tables stay as they are."""
    return create_engine(make_url(url).set(drivername="postgresql+psycopg2"), poolclass=NullPool)


@contextmanager
def reading(engine: Engine, mart: str = "daily_summary") -> Iterator[Connection]:
    """Hold a transaction open that has read one of the views, as an analyst's session does."""
    with engine.connect() as reader:
        reader.execute(text("set application_name = 'dashboard'"))
        reader.exec_driver_sql(f"select * from {SCHEMA}.{mart}")
        yield reader


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def dump_of(engine: Engine, file: Path) -> Dump:
    """Start a dump of the engine's database by pg_dump into a file."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return Dump(subprocess.Popen([programs() / "pg_dump", "-d", url, "-f", file]), file)


@dataclass
class Dump:
    """A dump that goes on."""

    process: subprocess.Popen[bytes]
    file: Path

    def waits(self, engine: Engine) -> bool:
        """Tell whether it stands in front of a lock, holding those of the tables before."""
        query = text(
            "select count(*) from pg_stat_activity where application_name = 'pg_dump' and wait_event_type = 'Lock'"
        )
        with engine.connect() as connection:
            return bool(connection.execute(query).scalar_one())

    def restore(self, url: str) -> None:
        """Wait for the dump's good end, and make everything in it anew in another database."""
        assert self.process.wait(60) == 0
        subprocess.run([programs() / "psql", "-q", "-d", url, "-f", self.file], check=True, capture_output=True)
