"""Generated files: the same bytes always, the promised ranges, the promised defects."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline_lib import record_blocks
from pipeline_lib.defects import DefectKind
from pipeline_lib.generate import first_lines, generate, is_distributed, vocabulary_sample, write_blocks
from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import GenerateParameters, IngestParameters
from pipeline_lib.record_blocks import block_count, make_block
from workbench.base.errors import InvalidParameter

REFERENCE = "2026-11-23T08:00:00.250000+00:00"


def parameters(**changes: Any) -> GenerateParameters:
    return GenerateParameters(**{"records": 2_000, "reference_time": REFERENCE, **changes})


def generated(folder: Path, **changes: Any) -> bytes:
    result = generate(parameters(**changes), folder)
    (name,) = result.files
    return (folder / name).read_bytes()


def test_the_same_parameters_make_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = generated(tmp_path, defect_rate=0.1)
    assert generated(tmp_path, defect_rate=0.1) == first
    assert generated(tmp_path, defect_rate=0.1, seed=43) != first


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_another_process_makes_the_same_bytes(hash_seed: str, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pipeline_lib.generate import *;"
        f"generate(GenerateParameters(records=500, defect_rate=0.2, reference_time={REFERENCE!r}), Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "other")]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True)
    own = generated(tmp_path, records=500, defect_rate=0.2)
    assert (tmp_path / "other" / "records.jsonl").read_bytes() == own


@pytest.mark.parametrize("input_format", ["jsonl", "array"])
def test_the_order_in_which_blocks_are_made_makes_no_difference(
    input_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_blocks, "BLOCK_RECORDS", 300)
    chosen = parameters(input_format=input_format, defect_rate=0.15)
    forwards = generated(tmp_path, input_format=input_format, defect_rate=0.15)
    made = {number: make_block(chosen, number) for number in reversed(range(block_count(chosen.records)))}
    write_blocks(chosen, tmp_path / "other", [made[number] for number in sorted(made)])
    assert len(made) == 7
    assert next((tmp_path / "other").iterdir()).read_bytes() == forwards


def test_the_bytes_of_a_block_are_pinned() -> None:
    text = make_block(parameters(records=1_000, seed=7, defect_rate=0.1), 0).text
    assert hashlib.sha256(text).hexdigest() == "6a45aa69c25bc1cc16e2c15fc17f64bc71a59ac4090c6021fba567a126f3374a"


def test_records_are_as_the_table_says(tmp_path: Path) -> None:
    text = generated(tmp_path).decode()
    records = [json.loads(line, parse_float=Decimal) for line in text.splitlines()]
    reference = datetime.fromisoformat(REFERENCE)
    assert [record["id"] for record in records] == list(range(2_000))
    assert {record["category"] for record in records} == set("ABCD")
    assert {record["is_active"] for record in records} == {True, False}
    for record in records:
        assert list(record) == ["id", "name", "category", "value", "quantity", "is_active", "created_at", "customer"]
        assert Decimal(10) <= record["value"] <= Decimal(1000)
        assert record["value"].as_tuple().exponent == -2
        assert 1 <= record["quantity"] <= 100
        assert timedelta(0) <= reference - datetime.fromisoformat(record["created_at"]) <= timedelta(days=30)
        assert re.fullmatch(r"[A-Z]{2}", record["customer"]["country"])


def test_a_customer_is_the_same_person_wherever_mentioned(tmp_path: Path) -> None:
    lines = generated(tmp_path, records=20_000).splitlines()
    people = [tuple(json.loads(line)["customer"].values()) for line in lines]
    assert len({email for _, email, _ in people}) == len(set(people)) <= 3_072


@pytest.mark.parametrize("locale", ["de_DE", "ja_JP", "ar_AA", "fr_FR", "zh_CN", "cs_CZ"])
def test_every_locale_passes_ingestion(locale: str, tmp_path: Path) -> None:
    generated(tmp_path, locale=locale)
    result = ingest(IngestParameters(reference_time=REFERENCE), tmp_path / "records.jsonl", tmp_path / "out")
    assert result.counts == {"read": 2_000, "ingested": 2_000, "rejected": 0}


@pytest.mark.parametrize("input_format", ["jsonl", "array"])
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.0003, 0.5, 1.0])
@pytest.mark.parametrize("block", [65_536, 700])
def test_every_defect_is_rejected_for_its_own_reason_or_repaired(
    input_format: str, rate: float, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_blocks, "BLOCK_RECORDS", block)
    made = generate(parameters(input_format=input_format, defect_rate=rate, records=4_200), tmp_path)
    (name,) = made.files
    read = ingest(
        IngestParameters(reference_time=REFERENCE, max_reject_rate=1, allow_empty=True),
        tmp_path / name,
        tmp_path / "out",
    )
    defects = Counter(made.details["defects"])
    assert defects.total() == int(4_200 * rate + 0.5)
    assert set(defects) == set(DefectKind)
    untidy = defects.pop("untidy_text")
    assert Counter(read.details["rejects_by_reason"]) == defects
    assert sum(read.details["repaired"].values()) == untidy
    assert made.counts["generated"] == read.counts["read"] == read.counts["ingested"] + read.counts["rejected"]


@pytest.mark.parametrize("records", [1, 2, 6, 7, 8])
def test_even_the_smallest_files_reconcile(records: int, tmp_path: Path) -> None:
    made = generate(parameters(defect_rate=1.0, records=records), tmp_path)
    read = ingest(
        IngestParameters(reference_time=REFERENCE, max_reject_rate=1, allow_empty=True),
        tmp_path / "records.jsonl",
        tmp_path / "out",
    )
    assert Counter(read.details["rejects_by_reason"]) == Counter(made.details["defects"]) - Counter(untidy_text=9)


def test_an_array_is_one_json_document(tmp_path: Path) -> None:
    assert len(json.loads(generated(tmp_path, input_format="array"))) == 2_000
    assert len(json.loads(generated(tmp_path, input_format="array", records=1))) == 1


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    generate(parameters(), tmp_path, lambda done, total: told.append((done, total)))
    assert told[-1] == (2_000, 2_000)


def test_an_open_clock_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="parameter reference_time"):
        generate(parameters(reference_time=""), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reader_can_look_at_words_and_lines(tmp_path: Path) -> None:
    generated(tmp_path)
    assert vocabulary_sample(parameters(), 4).shape == (4, 4)
    assert [json.loads(line)["id"] for line in first_lines(tmp_path / "records.jsonl", 3)] == [0, 1, 2]
    assert not is_distributed(parameters())
    assert is_distributed(parameters(distributed_threshold=1_999))
