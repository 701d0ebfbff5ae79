"""A small JSON file, its ingestion and what that left."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import IngestParameters
from workbench.stage.artefacts import StageResult

REFERENCE = "2026-11-23T08:00:00+00:00"
RECORDS = [
    {"id": number, "name": f"Lamp {number}", "category": "ABCD"[number % 4], "value": 10.25, "quantity": number}
    for number in range(5)
]
LINES = "\n".join(json.dumps(record) for record in RECORDS).encode()


def ingested(folder: Path, content: bytes, max_reject_rate: float = 1.0, allow_empty: bool = False) -> StageResult:
    source = folder / "input"
    source.write_bytes(content)
    parameters = IngestParameters(reference_time=REFERENCE, max_reject_rate=max_reject_rate, allow_empty=allow_empty)
    result = ingest(parameters, source, folder / "out")
    assert result.counts["read"] == result.counts["ingested"] + result.counts["rejected"]
    return result


def ids(folder: Path) -> list[int]:
    return pq.read_table(folder / "out" / "dataset.parquet")["id"].to_pylist()


def rejects(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "out" / "rejects.jsonl").read_text().splitlines()]
