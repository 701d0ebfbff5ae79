"""How long a run will take and how much it will write, judged by completed runs of the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine, text

_FAR = 3  # times the largest past run
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
join pipelines on pipelines.id = figures.pipeline_id
where
    figures.status = 'completed' and figures.records_read > 0 and figures.total_seconds > 0
    and pipelines.attempt = 1
    and not exists (
        select from pipeline_stages
        where pipeline_id = figures.pipeline_id and (interactive or status in ('reused', 'skipped'))
    )
order by pipelines.number desc
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
    """Expected wall seconds, with the least and most that past runs' deviations suggest; bytes; the runs behind it.

    `seconds` and `most` are None where no past run was nearly as large: then only the least is known.
    """

    seconds: float | None
    least: float
    most: float | None
    bytes: float
    runs: int


def past_runs(engine: Engine, limit: int = 50) -> list[PastRun]:
    """Return the newest runs that completed in one attempt, without stages done by hand, reused or skipped."""
    with engine.connect() as connection:
        rows = connection.execute(text(_PAST_RUNS), {"limit": limit})
        return [PastRun(row.records, float(row.seconds), int(row.bytes)) for row in rows]


def estimate(past: Sequence[PastRun], records: int) -> Estimate | None:
    """Judge a run of `records`; None without any past run.

    Seconds and bytes are a fixed start-up part and a part per record. How the seconds of small runs differ is chance
    (is Spark warm, is the machine busy), so no slope is read from it: beyond three times the largest past run nothing
    is said but that it takes at least as long as that.
    """
    if not past:
        return None
    sizes = np.array([run.records for run in past], dtype=float)
    seconds, written = (np.array([getattr(run, name) for run in past], dtype=float) for name in ("seconds", "bytes"))
    size = _on_line(sizes, written, records) * _growth(sizes, records)
    if records > _FAR * sizes.max():
        largest = float(np.median(seconds[sizes == sizes.max()]))
        return Estimate(None, largest, None, size, len(past))
    expected = _on_line(sizes, seconds, records)
    ratios = [run.seconds / max(_on_line(sizes, seconds, run.records), 1e-9) for run in past]
    most = expected * max(1.0, *ratios) * _growth(sizes, records)
    return Estimate(expected, expected * min(1.0, *ratios), most, size, len(past))


def _growth(sizes: np.ndarray, records: int) -> float:
    """Return how much more a run of these records may take at most, where all past runs had one size."""
    return max(1.0, records / sizes.max()) if len(np.unique(sizes)) == 1 else 1.0


def _on_line(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Return the value at `at` of a line that outliers do not bend, with neither offset nor slope below nought.

    The slope is the median of those of all pairs of runs, each weighted by how far apart the sizes of the pair are
    (Jaeckel 1972, doi:10.1214/aoms/1177692377): a pair of small runs tells next to nothing of the time per record.
    """
    first, second = np.triu_indices(len(x), k=1)
    apart = np.abs(x[second] - x[first])
    told = apart > 0
    slope = 0.0
    if told.any():
        slopes = (y[second] - y[first])[told] / (x[second] - x[first])[told]
        order = np.argsort(slopes)
        reached = np.cumsum(apart[told][order])
        slope = max(0.0, float(slopes[order][np.searchsorted(reached, reached[-1] / 2)]))
    offset = float(np.median(y - slope * x))
    if offset < 0:
        return float(at * np.median(y / x))
    return offset + slope * at
