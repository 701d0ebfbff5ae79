"""What tests of resume and reuse share: resumed runs, what they exported, and which stages they executed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.looking import events_of, stages_of
from tests.faults.workshop import WorkedRun
from workbench.stage.pipeline import STAGE_NAMES

CLOCK = "2026-11-01T12:00:00+00:00"
STAGES = list(STAGE_NAMES)


def resumed(run: StartedRun, *options: str, **more: str) -> StartedRun:
    """Go on with a run that has ended, or whose lease has to run out first; returns the process of it, ended."""
    until(lambda: run.row["lease_expires_at"] is None or lease_is_over(run), "the lease runs out")
    bench = run.bench
    again = bench.start("resume", run.pipeline_id, *options, **more)
    again = replace(again, key=run.key)
    again.wait(120)
    return again


def lease_is_over(run: StartedRun) -> bool:
    query = text("select lease_expires_at < clock_timestamp() from pipelines where id = :id")
    with run.bench.engine.connect() as connection:
        return bool(connection.execute(query, {"id": run.pipeline_id}).scalar_one())


def exported(run: StartedRun | WorkedRun) -> list[dict[str, Any]]:
    """Return the records of the run's output file."""
    output = json.loads(Path(run.row["output_file"]).read_text(), parse_float=Decimal)
    assert output["record_count"] == len(output["data"])
    records: list[dict[str, Any]] = output["data"]
    return records


def ledger(run: StartedRun) -> dict[str, tuple[str, str | None]]:
    """Return status and reason of each stage."""
    return {row["name"]: (row["status"], row["reason"]) for row in stages_of(run.bench.engine, run.pipeline_id)}


def executed(run: StartedRun, after: int = 0) -> list[str]:
    """Return the stages in whose notebooks a kernel has begun a cell, in events after that sequence number."""
    events = events_of(run.bench.engine, run.pipeline_id)
    cells = Counter(each["stage"] for each in events if each["type"] == "cell.started" and each["sequence"] > after)
    return [stage for stage in STAGES if cells[stage]]


def statuses(bench: Bench, pipeline_id: str) -> list[str]:
    return [row["status"] for row in stages_of(bench.engine, pipeline_id)]
