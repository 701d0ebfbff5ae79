"""The database's side of a kernel: which sessions are its own, and how they end when it does not end them itself."""

from __future__ import annotations

import logging
import os

from sqlalchemy import Engine, bindparam, text
from sqlalchemy.exc import DBAPIError

from pipeline_lib.artefacts import schema_of
from pipeline_lib.stages.processed_tables import loader_name

log = logging.getLogger(__name__)
_NOTICE_DEAD_CLIENTS = "-c client_connection_check_interval=2000"
_END = text(
    "select count(pg_terminate_backend(pid)) from pg_stat_activity"
    " where application_name in :names and datname = current_database() and usename = current_user"
).bindparams(bindparam("names", expanding=True))


def application_of(pipeline_id: str) -> str:
    """Return the name by which the kernels of a run are known to the database, dbt's connections included."""
    return f"workbench {pipeline_id}"


def client_environment(pipeline_id: str) -> dict[str, str]:
    """Return libpq's variables for a run's kernels: the name, and that the server looks every 2 s for dead clients.

    So a statement ends with its kernel even when nobody is left to end it.
    """
    options = f"{os.environ.get('PGOPTIONS', '')} {_NOTICE_DEAD_CLIENTS}".strip()
    return {"PGAPPNAME": application_of(pipeline_id), "PGOPTIONS": options}


def end_backends(engine: Engine, pipeline_id: str) -> None:
    """End every session that kernels of this run have left; without the database there are none."""
    names = [application_of(pipeline_id), loader_name(schema_of(pipeline_id))]
    try:
        with engine.begin() as connection:
            ended: int = connection.execute(_END, {"names": names}).scalar_one()
    except DBAPIError as error:
        log.warning("database sessions not ended", extra={"error_type": type(error).__name__})
        return
    if ended:
        log.info("database sessions ended", extra={"sessions": ended})
