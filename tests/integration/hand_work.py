"""The cells of a person's notebooks, without kernels: each stage opened, made of tiny data, finished."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2 import sql

from pipeline_lib.generate import generate
from pipeline_lib.ingest import ingest
from workbench.jupyter.stage_session import StageSession, open_stage
from workbench.stage.artefacts import Manifest, StageResult
from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import STAGE_PARAMETERS, RunParameters

RECORDS = 5
TABLES = {
    "process": ("processed_items",),
    "transform": ("item_metrics", "category_summary", "country_summary", "daily_summary"),
}


def opened(stage: StageName, pipeline_id: str = "", **parameters: Any) -> StageSession:
    """Run the cell that opens a stage."""
    chosen = RunParameters(records=RECORDS, **parameters).started_at(datetime(2026, 11, 1, tzinfo=UTC))
    return open_stage(pipeline_id, STAGE_PARAMETERS[stage].model_validate(chosen.for_stage(stage).model_dump()))


def finish(session: StageSession, content: str = "as it should be") -> Manifest:
    """Run the cells that make the stage's data, and the one that finishes it."""
    return session.finish(made(session, content))


def made(session: StageSession, content: str) -> StageResult:
    """Make the data of the stage: for real in stages 1 and 2, one small file and small tables in the others."""
    session.progress(0, None)
    if session.stage == "generate":
        return generate(session.parameters, session.folder, session.progress)
    if session.stage == "ingest":
        return ingest(session.parameters, session.source, session.folder, session.progress)
    (session.folder / "made.txt").write_text(content)
    fill(session, content)
    counted = {"process": ("processed", "loaded"), "transform": ("transformed",)}
    counts = dict.fromkeys(counted.get(session.stage, ("exported",)), RECORDS)
    rows = dict.fromkeys(TABLES.get(session.stage, ()), RECORDS)
    details = {"loaded": rows} if session.stage == "process" else {"marts": rows}
    return StageResult(counts, {"made.txt": RECORDS}, details)


def fill(session: StageSession, content: str) -> None:
    with psycopg2.connect(session.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(session.schema)))
        for name in TABLES.get(session.stage, ()):
            table = sql.Identifier(session.schema, name)
            cursor.execute(sql.SQL("drop table if exists {} cascade").format(table))
            create = "create table {} as select number, cast(%s as text) as content from generate_series(1, %s) number"
            cursor.execute(sql.SQL(create).format(table), (content, RECORDS))
    connection.close()
