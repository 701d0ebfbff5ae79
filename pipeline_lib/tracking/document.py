"""A run as one JSON document: what `--json`, the page and the notebooks show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from pipeline_lib.artefacts import RunFolder
from pipeline_lib.parameters import StageName
from pipeline_lib.settings import Settings
from pipeline_lib.tracking import queries


def run_document(engine: Engine, settings: Settings, pipeline_id: str) -> dict[str, Any]:
    """Return everything a person asks about a run; seconds are wall time, counts are records.

    Raises `UnknownRun`. Keys are a contract: see docs/commands.md.
    """
    row = queries.run_row(engine, pipeline_id)
    folder = settings.run_folder(pipeline_id)
    return {
        "pipeline_id": row["id"],
        "status": row["status"],
        "attempt": row["attempt"],
        "trigger": row["trigger"],
        "created_at": row["created_at"].isoformat(),
        "parameters": row["parameters"],
        "seconds": _seconds(row),
        "records": queries.record_counts(row["counts"]),
        "stages": [_stage_document(stage) for stage in queries.stage_rows(engine, pipeline_id)],
        "error": row["error"],
        "output_file": row["output_file"],
        "rejects_file": next(iter(_files(folder, "rejects.jsonl")), None),
        "notebooks": _files(folder, "notebook*.ipynb"),
        "reports": _files(folder, "report*.html"),
    }


def _stage_document(row: Mapping[str, Any]) -> dict[str, Any]:
    manifest = row["manifest"] or {}
    return {
        "name": row["name"],
        "status": row["status"],
        "attempts": row["attempt"],
        "reason": row["reason"],
        "interactive": row["interactive"],
        "seconds": _seconds(row),
        "counts": row["counts"],
        "progress": row["progress"],
        "conservation": manifest.get("details", {}).get("conservation", []),
        "error": row["error"],
    }


def _seconds(row: Mapping[str, Any]) -> float | None:
    """Return how long the run or stage took, or None while it has not ended."""
    started: datetime | None = row["started_at"]
    finished: datetime | None = row["finished_at"]
    return round((finished - started).total_seconds(), 3) if started and finished else None


def _files(folder: RunFolder, pattern: str) -> list[str]:
    found: list[Path] = [path for stage in StageName for path in sorted(folder.stage(stage).glob(pattern))]
    return [str(path) for path in found]
