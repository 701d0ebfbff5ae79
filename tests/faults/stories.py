"""The same story, read from each place that tells it: events, notebook, report, Prefect."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import nbformat

from tests.faults.looking import Row
from workbench.notebook.attempt_files import notebook_of, report_of
from workbench.stage.artefacts import RunFolder

if TYPE_CHECKING:
    from tests.faults.bench import Bench

BADGES = {
    "completed": "Completed",
    "failed": "Failed",
    "killed": "Kernel died",
    "timed_out": "Timed out",
    "cancelled": "Cancelled",
}
_NOTEBOOK_OF_STAGE = {
    "completed": {"completed"},
    "reused": {"completed"},
    "failed": {"failed", "killed", "timed_out"},
    "cancelled": {"cancelled"},
    "crashed": {"killed"},
}
_CELL_ENDS = {"cell.started": "killed", "cell.completed": "completed"}


@dataclass
class Told:
    """What the events tell: the run's state, each stage's state and attempts, and the error of each end."""

    run: str = "pending"
    stages: dict[str, tuple[str, int]] = field(default_factory=dict)
    errors: dict[str | None, tuple[str, str]] = field(default_factory=dict)


def replay(events: Sequence[Row]) -> Told:
    """Return the states that a reader of the events alone arrives at."""
    told = Told()
    for event in events:
        kind, _, what = event["type"].partition(".")
        stage, data = event["stage"], event["data"]
        if kind == "run" and what != "published":
            told.run = "running" if what == "started" else what
        elif kind == "stage" and (what != "retrying" or data.get("status") == "pending"):
            attempts = told.stages.get(stage, ("", 0))[1] + (what == "started")
            state = {"started": "running", "failed": data.get("status"), "retrying": "pending"}.get(what, what)
            told.stages[stage] = (state, attempts)
        if kind in ("run", "stage") and "message" in data:
            told.errors[stage] = (data["name"], data["message"])
    return told


def notebook_problems(folder: RunFolder, stage: Row, events: Sequence[Row]) -> Iterator[str]:
    """Compare the executed notebook of the stage's last attempt, and its report, with the stage and its events."""
    if stage["attempt"] == 0 or stage["status"] == "pending":  # never executed, or its result is to be made again
        return
    path = notebook_of(folder.stage(stage["name"]), stage["attempt"])
    if not path.exists():
        if stage["status"] != "crashed" or _told_cells(stage, events):
            yield f"{path}: missing"
        return
    notebook = nbformat.read(path, as_version=4)
    end = notebook.metadata.workbench
    if end.status not in _NOTEBOOK_OF_STAGE[stage["status"]]:
        yield f"{path} is {end.status}, its stage {stage['status']}"
    yield from _error_problems(path, end.get("error"), stage["error"])
    yield from _cell_problems(path, notebook, _told_cells(stage, events))
    yield from _report_problems(report_of(path), end)


def _error_problems(path: Path, told: Any, error: Row | None) -> Iterator[str]:
    here = (told["exception"], told["number"]) if told else None
    there = (error["name"], error.get("cell", told["number"] if told else None)) if error else None
    if here != there:
        yield f"{path} tells of {here}, its stage of {there}"


def _told_cells(stage: Row, events: Sequence[Row]) -> dict[int, str]:
    """Return the end of each cell of the last attempt, as its events tell it."""
    cells: dict[int, str] = {}
    for event in events:
        if event["stage"] != stage["name"]:
            continue
        if event["type"] == "stage.started":
            cells = {}
        elif event["type"].startswith("cell."):
            cells[event["data"]["cell"]] = event["data"].get("status", _CELL_ENDS.get(event["type"], ""))
    return cells


def _cell_problems(path: Path, notebook: Any, told: dict[int, str]) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        status = cell.metadata.workbench.status
        if told.get(number, "not_run") != status and not (status == "skipped" or not cell.source.strip()):
            yield f"{path}: cell {number} is {status}, its events say {told.get(number, 'not_run')}"


def _report_problems(path: Path, end: Any) -> Iterator[str]:
    if not path.exists():
        yield f"{path}: missing"
        return
    page = path.read_text("utf-8")
    badge = re.search(r'<p class="badge \w+">([^<]*)</p>', page)
    if not badge or badge[1] != BADGES[end.status]:
        yield f"{path} says {badge and badge[1]}, the notebook is {end.status}"
    if end.get("error") and html.escape(end.error.exception) not in page:
        yield f"{path} does not name {end.error.exception}"
    if end.get("error") and end.error.number and f'href="#cell-{end.error.number}"' not in page:
        yield f"{path} does not lead to cell {end.error.number}"


def prefect_problems(bench: Bench, row: Row) -> list[str]:
    """Compare Prefect's state of the run's flow run with ours, if Prefect has ever heard of it."""
    if row["prefect_flow_run_id"] is None:
        return []
    answer = httpx.get(f"{bench.settings.prefect_api_url}/flow_runs/{row['prefect_flow_run_id']}", timeout=20)
    state = answer.json()["state"]["type"].lower()
    return [] if state == row["status"] else [f"Prefect says {state}, the table {row['status']}"]
