"""The database sessions of a run's kernels: their name, and how to end those that outlive their kernel."""

from __future__ import annotations

import logging

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from workbench.base import connection_uri

log = logging.getLogger(__name__)
_END = text(
    "select count(pg_terminate_backend(pid)) from pg_stat_activity"
    " where application_name = :application and datname = current_database() and usename = current_user"
)


def application_of(pipeline_id: str, attempt: int) -> str:
    """Return the application name of all database sessions of a run's attempt, dbt's included."""
    return f"workbench {pipeline_id}.{attempt}"


def database_environment(database_url: str, application: str) -> dict[str, str]:
    """Return the variables by which a kernel and its cells reach the database in sessions of this name."""
    return {"DATABASE_URL": connection_uri.named(database_url, application), "PGAPPNAME": application}


def end_backends(engine: Engine, application: str) -> None:
    """End every session of this name; without the database there are none."""
    try:
        with engine.begin() as connection:
            ended: int = connection.execute(_END, {"application": application}).scalar_one()
    except DBAPIError as error:
        log.warning("database sessions not ended", extra={"error_type": type(error).__name__})
        return
    if ended:
        log.info("database sessions ended", extra={"sessions": ended})
