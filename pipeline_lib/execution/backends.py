"""The database's side of a kernel: which sessions are its own, and how they end when it does not end them itself."""

from __future__ import annotations

import logging
import os

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)
_NOTICE_DEAD_CLIENTS = "-c client_connection_check_interval=2000"
_END = text(
    "select count(pg_terminate_backend(pid)) from pg_stat_activity"
    " where application_name = :application and datname = current_database() and usename = current_user"
)


def application_of(pipeline_id: str, attempt: int) -> str:
    """Return the name by which the kernels of a run's attempt are known to the database, dbt's sessions included."""
    return f"workbench {pipeline_id}.{attempt}"


def client_environment(application: str) -> dict[str, str]:
    """Return libpq's variables for kernels: the name, and that the server looks every 2 s for dead clients.

    So a statement ends with its kernel even when nobody is left to end it.
    """
    options = f"{os.environ.get('PGOPTIONS', '')} {_NOTICE_DEAD_CLIENTS}".strip()
    return {"PGAPPNAME": application, "PGOPTIONS": options}


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
