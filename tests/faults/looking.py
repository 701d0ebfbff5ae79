"""Looks at what is known about a run without changing it: no looking here reaps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from sqlalchemy import Engine, select, text

from workbench.state.models import Pipeline, PipelineEvent, PipelineStage

Row = Mapping[str, Any]


def row_of(engine: Engine, pipeline_id: str) -> Row:
    """Return the run's row."""
    with engine.connect() as connection:
        return connection.execute(select(Pipeline.__table__).where(Pipeline.id == pipeline_id)).mappings().one()


def stages_of(engine: Engine, pipeline_id: str) -> list[Row]:
    """Return the rows of its stages, in order."""
    query = select(PipelineStage.__table__).where(PipelineStage.pipeline_id == pipeline_id)
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(PipelineStage.position)).mappings())


def events_of(engine: Engine, pipeline_id: str) -> list[Row]:
    """Return its events, in order."""
    query = select(PipelineEvent.__table__).where(PipelineEvent.pipeline_id == pipeline_id)
    with engine.connect() as connection:
        return list(connection.execute(query.order_by(PipelineEvent.sequence)).mappings())


def stage_of(engine: Engine, pipeline_id: str, name: str) -> Row:
    """Return the row of one stage."""
    return next(row for row in stages_of(engine, pipeline_id) if row["name"] == name)


def run_schemas(engine: Engine) -> set[str]:
    """Return the schemas of runs in the database."""
    query = text("select nspname from pg_namespace where nspname like 'run\\_%'")
    with engine.connect() as connection:
        return set(connection.execute(query).scalars())


def backends_of(engine: Engine, pipeline_id: str) -> list[Row]:
    """Return the database's sessions that belong to kernels of the run."""
    query = text(
        "select pid, application_name, state, query from pg_stat_activity"
        " where datname = current_database() and application_name like '%' || :run || '%'"
    )
    with engine.connect() as connection:
        return list(connection.execute(query, {"run": pipeline_id}).mappings())


def saved_cells(notebook: Path) -> dict[int, str]:
    """Return the status of each code cell of an executed notebook, by number."""
    cells = nbformat.read(notebook, as_version=4).cells
    return {number: cell.metadata.workbench.status for number, cell in enumerate(cells, 1) if cell.cell_type == "code"}
