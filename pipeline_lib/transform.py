"""Stage 4: dbt builds staging views and marts from the processed tables of schema run_<id>, and tests them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from pipeline_lib.parameters import TransformParameters
from workbench.base.durable_files import written_whole
from workbench.base.errors import ManifestBroken
from workbench.data.dbt_results import Build, build_error, declared_nodes, read_build
from workbench.data.dbt_runner import NODES, DbtCall, call_dbt, profile_environment
from workbench.data.previous_marts import set_aside
from workbench.data.publication import MARTS
from workbench.data.run_schema import connected
from workbench.services.database_errors import DRIVER_ERRORS, translated
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress, silent

SOURCES = ("processed_items", "processed_by_category", "processed_by_country", "processed_by_day")
MARTS_FILE = "marts.json"


def build_marts(
    database_url: str, schema: str, folder: Path, parameters: TransformParameters, progress: Progress = silent
) -> Build:
    """Run `dbt build`: every model, then every test of it, before anything that depends on it.

    Unit tests are part of it: they cost 0.3 s and name the rule that an edit of a model has broken. Marts that readers
    see stay unchanged until the next publication. Raises `ModelTestFailed`, `ManifestBroken` when a processed table is
    missing, `ServiceUnavailable`.
    """
    with connected(database_url) as connection:
        _check_sources(connection, schema)
        environment = profile_environment(connection.info, schema)
    progress(0, None, NODES)  # before anything is changed: a caller may refuse by raising
    _make_room(database_url, schema)
    call = DbtCall("build", environment, folder, parameters.dbt_threads, variables_of(parameters))
    build = read_build(call_dbt(call, progress), declared_nodes(call.target))
    error = build_error(build)
    if error is not None:
        raise error
    return build


def variables_of(parameters: TransformParameters) -> Mapping[str, str]:
    """Return dbt's variables: the run's reference time, the present moment where a notebook alone has none."""
    return {"transformed_at": parameters.reference_time or datetime.now(UTC).isoformat()}


def mart_counts(database_url: str, schema: str) -> dict[str, int]:
    """Count the rows of each mart."""
    counts = sql.SQL("select {}").format(
        sql.SQL(", ").join(sql.SQL("(select count(*) from {})").format(sql.Identifier(schema, mart)) for mart in MARTS)
    )
    with connected(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(counts)
        return dict(zip(MARTS, cursor.fetchone() or (), strict=True))


def stage_result(build: Build, rows: Mapping[str, int], folder: Path) -> StageResult:
    """Write the marts' rows to marts.json, the same bytes for the same marts. Counts: transformed."""
    with written_whole(folder / MARTS_FILE) as file:
        file.write(json.dumps(dict(rows), indent=2).encode())
    details = {**build.details(), "marts": dict(rows)}
    return StageResult({"transformed": rows["item_metrics"]}, {MARTS_FILE: None}, details)


def _check_sources(connection: Connection, schema: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select table_name from information_schema.tables where table_schema = %s", (schema,))
        missing = sorted(set(SOURCES) - {name for (name,) in cursor.fetchall()})
    if missing:
        raise ManifestBroken(f"schema {schema} lacks {', '.join(missing)}; run stage 3 (process) first")


def _make_room(database_url: str, schema: str) -> None:
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(database_url), poolclass=NullPool)
    try:
        set_aside(engine, schema)
    except DBAPIError as error:
        if isinstance(error.orig, DRIVER_ERRORS):
            raise translated(error.orig) from error
        raise
