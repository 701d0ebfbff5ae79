"""A run as one JSON document: what `--json`, the page and the notebooks show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from workbench.base.settings import Settings
from workbench.stage.artefacts import RunFolder
from workbench.stage.changed_files import changed_files
from workbench.stage.pipeline import Rejects
from workbench.state import queries
from workbench.state.publication_queue import publication_of
from workbench.state.states import TERMINAL, RunStatus


def run_document(engine: Engine, settings: Settings, pipeline_id: str) -> dict[str, Any]:
    """Return everything a person asks about a run; counts are records, seconds those of work (docs/run-state.md).

    Raises `UnknownRun`. Keys are a contract: see docs/commands.md.
    """
    row, stages = queries.run_row(engine, pipeline_id), queries.stage_rows(engine, pipeline_id)
    return document_of(engine, settings, row, stages)


def document_of(
    engine: Engine, settings: Settings, row: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the document of a run whose rows are read already."""
    folder = RunFolder(settings.home, row["id"])
    return {
        "pipeline_id": row["id"],
        "status": row["status"],
        "attempt": row["attempt"],
        "trigger": row["trigger"],
        "derived_from": row["derived_from"],
        "created_at": row["created_at"].isoformat(),
        "parameters": row["parameters"],
        "seconds": _seconds_of_run(row),
        "records": queries.record_counts(queries.chain_of(row), row["counts"]),
        "stages": [_stage_document(stage) for stage in stages],
        "error": row["error"],
        "output_file": row["output_file"],
        "publication": _publication_document(publication_of(engine, row["id"])),
        "rejects_file": _rejects_file(queries.chain_of(row).rejects, folder, stages),
        "notebooks": _files(folder, stages, "notebook*.ipynb"),
        "reports": _files(folder, stages, "report*.html"),
        "changed_files": changed_files(folder, stages) if RunStatus(row["status"]) in TERMINAL else [],
    }


def _rejects_file(rejects: Rejects, folder: RunFolder, stages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the file of rejects; None while the latest attempt has counted none, so that it is of one before."""
    if not rejects.file or not any(rejects.count in stage["counts"] for stage in stages):
        return None
    return next(iter(_files(folder, stages, rejects.file)), None)


def _publication_document(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Say whether readers of a schema see the run's marts, and if not, why not; None for a run that never completed."""
    if row is None:
        return None
    times = {name: row[name] and row[name].isoformat() for name in ("requested_at", "attempted_at", "published_at")}
    return {name: row[name] for name in ("schema", "status", "reason", "attempts")} | times


def _stage_document(row: Mapping[str, Any]) -> dict[str, Any]:
    manifest = row["manifest"] or {}
    return {
        "name": row["name"],
        "status": row["status"],
        "attempts": row["attempt"],
        "reason": row["reason"],
        "interactive": row["interactive"],
        "seconds": _seconds_of_attempt(row),
        "counts": row["counts"],
        "progress": row["progress"],
        "conservation": manifest.get("details", {}).get("conservation", []),
        "error": row["error"],
    }


def done_of(progress: Mapping[str, Any]) -> int | None:
    """Return how much the running cell has done, in the progress's `unit` (records where it names none)."""
    done: int | None = progress.get("done", progress.get("records"))
    return done


def _seconds_of_run(row: Mapping[str, Any]) -> float | None:
    """Return the seconds of all attempts, as the view `key_figures` does; None while the run has not ended."""
    before, started, finished = float(row["seconds_before"]), row["started_at"], row["finished_at"]
    if finished is None or (started is None and not before):
        return None
    return round(before + ((finished - started).total_seconds() if started else 0), 3)


def _seconds_of_attempt(row: Mapping[str, Any]) -> float | None:
    """Return how long the latest attempt of a run or stage took, or None while it has not ended."""
    started: datetime | None = row["started_at"]
    finished: datetime | None = row["finished_at"]
    return round((finished - started).total_seconds(), 3) if started and finished else None


def _files(folder: RunFolder, stages: Sequence[Mapping[str, Any]], pattern: str) -> list[str]:
    found: list[Path] = [path for stage in stages for path in sorted(folder.stage(stage["name"]).glob(pattern))]
    return [str(path) for path in found]
