"""Data for the notebooks about past runs: key figures of many runs, a comparison of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from workbench.base.errors import UnknownRun
from workbench.base.text_formats import UNKNOWN, run_status_words
from workbench.charts.figures import shifts_by_column, side_by_side
from workbench.jupyter.kernel_services import kernel_services
from workbench.run.comparison import compare_runs
from workbench.state import queries
from workbench.state.states import RunStatus

_FIGURES = (
    "status",
    "trigger",
    "total_seconds",
    "records_read",
    "records_processed",
    "records_rejected",
    "error_count",
)
_TITLES = {
    "rejects": ("Rejects by reason", "records"),
    "stages": ("Seconds per stage", "seconds"),
    "cells": ("Seconds per cell, those that differ most", "seconds"),
    "models": ("Seconds per dbt model", "seconds"),
}


def key_figures(last_runs: int) -> list[queries.Row]:
    """Return the key figures of the newest runs, newest first, from the SQL view of that name."""
    return queries.key_figures(kernel_services().engine, last_runs)


def figures_table(rows: list[queries.Row]) -> pd.DataFrame:
    """Return key figures as a table for people, one run a row."""
    shown = [{name.replace("_", " "): _shown(row, name) for name in _FIGURES} for row in rows]
    columns = [name.replace("_", " ") for name in _FIGURES]
    return pd.DataFrame(shown, columns=columns, index=pd.Index([row["pipeline_id"] for row in rows], name="run"))


def _shown(row: queries.Row, name: str) -> str:
    value = row[name]
    if name == "status":
        return run_status_words(value, row["trigger"])
    if value is None:
        return UNKNOWN
    return f"{float(value):,.1f}" if name == "total_seconds" else f"{value:,}" if isinstance(value, int) else str(value)


def summed_up(rows: list[queries.Row]) -> pd.Series:
    """Return what many runs add up to: runs, success rate of the ended ones, records, errors, median seconds."""
    ended = [row for row in rows if row["finished_at"] is not None]
    completed = [row for row in ended if row["status"] == RunStatus.COMPLETED]
    seconds = pd.Series([float(row["total_seconds"]) for row in completed if row["total_seconds"]], dtype=float)
    figures: dict[str, Any] = {
        "runs": f"{len(rows):,}",
        "completed, of those that ended": f"{len(completed) / len(ended):.1%}" if ended else UNKNOWN,
        "records processed": f"{sum(row['records_processed'] or 0 for row in rows):,}",
        "records rejected": f"{sum(row['records_rejected'] or 0 for row in rows):,}",
        "stages that ended badly": f"{sum(row['error_count'] for row in rows):,}",
        "median seconds of a completed run": f"{seconds.median():,.1f}" if len(seconds) else UNKNOWN,
    }
    return pd.Series(figures, name="value")


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two runs side by side; `document` is what `workbench compare --json` prints."""

    document: dict[str, Any]

    def __repr__(self) -> str:
        runs = self.document["runs"]
        return "\n".join([*(f"{name} {runs[name]['pipeline_id']}" for name in "ab"), "", *self.document["words"]])

    def table(self, part: str) -> pd.DataFrame:
        """Return one part (parameters, records, stages, shifts, code …) as a table."""
        return pd.DataFrame(self.document[part] or [{"name": "nothing differs"}]).set_index(
            "column" if part == "shifts" and self.document[part] else "name"
        )

    def figure(self, part: str) -> go.Figure:
        """Return one part (rejects, stages, cells, models) as bars, a beside b."""
        return side_by_side(self.document[part], *_TITLES[part])

    def shifts(self) -> go.Figure:
        """Return how far the distribution of each column moved."""
        return shifts_by_column(self.document["shifts"])


def open_comparison(first_run: str = "", second_run: str = "") -> Comparison:
    """Compare two runs; without ids the second is the newest completed run, the first the one before that.

    Where there is only one, it is compared with itself. Raises `UnknownRun` where there is none.
    """
    services = kernel_services()
    completed = [row["id"] for row in queries.runs_ready_for(services.engine, before=None) if _is_completed(row)]
    if not completed and not (first_run and second_run):
        raise UnknownRun("no run has completed yet: start one in 00_workbench, or with `workbench run`")
    second = second_run or completed[0]
    first = first_run or next((each for each in completed if each < second), second)
    return Comparison(compare_runs(services.engine, services.settings, first, second))


def _is_completed(row: queries.Row) -> bool:
    return bool(row["status"] == RunStatus.COMPLETED)
