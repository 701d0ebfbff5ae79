"""How fast stages 1 and 2 are beside the plain way; prints records per second, asserts only that counts agree.

Run with `pytest -m benchmark -s tests/benchmarks/test_input_speed.py`; WORKBENCH_BENCHMARK_RECORDS changes the size.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from faker import Faker

from pipeline_lib.generate import generate
from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import GenerateParameters, IngestParameters

pytestmark = pytest.mark.benchmark

RECORDS = int(os.environ.get("WORKBENCH_BENCHMARK_RECORDS", "200000"))
SOME = 2_000
REFERENCE = "2026-11-23T08:00:00+00:00"
Result = TypeVar("Result")


def timed(what: str, records: int, work: Callable[[], Result]) -> Result:
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    print(f"\n{what:48} {records:>10,} records {seconds:8.2f} s {records / seconds:>12,.0f} records/s", end="")
    return result


def one_faker_call_per_field(records: int) -> list[dict[str, object]]:
    fake = Faker()
    fake.seed_instance(1)
    return [
        {
            "id": number,
            "name": fake.catch_phrase(),
            "category": fake.random_element("ABCD"),
            "value": float(fake.pydecimal(right_digits=2, min_value=10, max_value=1000)),
            "quantity": fake.random_int(1, 100),
            "is_active": fake.boolean(),
            "created_at": fake.date_time_this_month().isoformat(),
            "customer": {"name": fake.name(), "email": fake.email(), "country": fake.country_code()},
        }
        for number in range(records)
    ]


def json_load_and_check(path: Path) -> int:
    return sum(
        isinstance(record["id"], int) and record["category"] in "ABCD" and record["value"] >= 0
        for record in json.loads(path.read_bytes())
    )


@pytest.mark.timeout(900)
def test_generating_beside_one_faker_call_per_field(tmp_path: Path) -> None:
    for rate in (0.0, 0.05):
        parameters = GenerateParameters(records=RECORDS, defect_rate=rate, reference_time=REFERENCE)
        result = timed(f"generate, defect rate {rate}", RECORDS, lambda p=parameters: generate(p, tmp_path))
        assert result.counts["generated"] == RECORDS
    assert len(timed("one Faker call per field", SOME, lambda: one_faker_call_per_field(SOME))) == SOME


@pytest.mark.timeout(900)
@pytest.mark.parametrize("input_format", ["jsonl", "array"])
def test_ingesting_beside_json_load_and_a_loop(input_format: str, tmp_path: Path) -> None:
    reading = IngestParameters(reference_time=REFERENCE)
    for rate in (0.05, 0.0):
        made = generate(
            GenerateParameters(records=RECORDS, defect_rate=rate, reference_time=REFERENCE, input_format=input_format),
            tmp_path,
        )
        (name,) = made.files
        label = f"ingest {input_format}, defect rate {rate}"
        result = timed(label, RECORDS, lambda source=tmp_path / name: ingest(reading, source, tmp_path / "out"))
        assert result.counts["read"] == RECORDS
    if input_format == "array":
        assert timed("json.load and a loop", RECORDS, lambda: json_load_and_check(tmp_path / name)) == RECORDS
