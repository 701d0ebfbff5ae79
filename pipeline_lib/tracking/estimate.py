"""How long a run will take and how much it will write, judged by completed runs of the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine, text

_PAST_RUNS = """
select
    figures.records_read as records,
    figures.total_seconds as seconds,
    (
        select coalesce(sum((artefact ->> 'bytes')::bigint), 0)
        from pipeline_stages
        cross join jsonb_array_elements(manifest -> 'artefacts') as artefact
        where pipeline_stages.pipeline_id = figures.pipeline_id
    ) as bytes
from key_figures as figures
where
    figures.status = 'completed' and figures.records_read > 0 and figures.total_seconds > 0
    and not exists (
        select from pipeline_stages
        where pipeline_id = figures.pipeline_id and (interactive or status in ('reused', 'skipped'))
    )
order by figures.created_at desc
limit :limit
"""


@dataclass(frozen=True)
class PastRun:
    """A completed run that executed all stages by itself: records, wall seconds, bytes of its artefacts."""

    records: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Estimate:
    """Expected wall seconds, with the least and most that past runs' deviations suggest; bytes; the runs behind it."""

    seconds: float
    least: float
    most: float
    bytes: float
    runs: int


def past_runs(engine: Engine, limit: int = 50) -> list[PastRun]:
    """Return the newest completed runs without stages done by hand, reused or skipped."""
    with engine.connect() as connection:
        rows = connection.execute(text(_PAST_RUNS), {"limit": limit})
        return [PastRun(row.records, float(row.seconds), int(row.bytes)) for row in rows]


def estimate(past: Sequence[PastRun], records: int) -> Estimate | None:
    """Judge a run of `records`; None without any past run.

    Seconds and bytes are straight lines over the records, fitted by least squares of the relative error (weights
    1/y), so that short runs count as much as long ones; neither offset nor slope goes below zero. Past runs of one
    size only cannot tell start-up from work: a larger run takes at least as long, at most in proportion longer.
    """
    if not past:
        return None
    sizes = np.array([run.records for run in past], dtype=float)
    seconds, written = (np.array([getattr(run, name) for run in past], dtype=float) for name in ("seconds", "bytes"))
    expected = _on_line(sizes, seconds, records)
    unseen = max(1.0, records / sizes.max()) if len(np.unique(sizes)) == 1 else 1.0
    ratios = [run.seconds / max(_on_line(sizes, seconds, run.records), 1e-9) for run in past]
    size = _on_line(sizes, written, records) * unseen
    return Estimate(expected, expected * min(ratios), expected * max(ratios) * unseen, size, len(past))


def _on_line(x: np.ndarray, y: np.ndarray, at: float) -> float:
    if len(np.unique(x)) == 1:
        return float(y.mean())
    weights = 1 / np.maximum(y, 1e-9)
    offset, slope = np.linalg.lstsq(np.column_stack([weights, x * weights]), y * weights, rcond=None)[0]
    if slope < 0:
        return float(y.mean())
    if offset < 0:
        return float(at * np.sum((x * weights) * (y * weights)) / np.sum((x * weights) ** 2))
    return float(offset + slope * at)
