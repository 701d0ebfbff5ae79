"""What stage 5 has exported is input again: the same records come out of stage 2, whatever the format around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline_lib.export import export
from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import IngestParameters
from pipeline_lib.record import EXPORTED_FIELDS
from tests.integration.mart_rows import MOMENT, create_mart, mart_row
from tests.unit.json_files import RECORDS, REFERENCE, ingested, rejects
from workbench.base.errors import InputUnreadable
from workbench.data.output_formats import Output
from workbench.stage.artefacts import StageResult, schema_of

pytestmark = pytest.mark.promise("P15", "an export is input again: the same records come out of it")
RUN = "20261123t083012_a1b2c3"
CUSTOMER = {"name": "Zoë", "email": None, "phone": ["1", {"kind": 2.50}]}
INPUT: list[dict[str, Any]] = [
    *RECORDS,
    {**RECORDS[0], "id": 7, "customer": CUSTOMER, "created_at": "2026-11-01T12:00:00.000005+02:00", "is_active": False},
    {
        **RECORDS[1],
        "id": 8,
        "value": 0.07,
        "note": "}]}",
        "total_value": 1e3,
        "extra": {"extra": None},
        "rows": [1, {}],
    },
    {**RECORDS[2], "id": 2**62, "customer": {"country": "DE"}, "data": [{"id": 1}], "näme\n": "\u2028 ﷽"},
]


def dataset(folder: Path) -> list[dict[str, Any]]:
    rows = pq.read_table(folder / "dataset.parquet").to_pylist()
    return [{**row, "extra": json.loads(row["extra"]) if row["extra"] else {}} for row in rows]


@pytest.fixture
def before(database_url: str, tmp_path: Path) -> list[dict[str, Any]]:
    """The records of a run as its stage 2 has accepted them, which are its mart, too."""
    assert ingested(tmp_path, "\n".join(map(json.dumps, INPUT)).encode()).counts["ingested"] == len(INPUT)
    rows = dataset(tmp_path / "out")
    create_mart(database_url, schema_of(RUN), [mart_row(**row) for row in rows])
    return rows


def exported(database_url: str, folder: Path, file_format: str, compression: str = "none") -> Path:
    (name,) = export(database_url, Output(RUN, MOMENT, file_format, compression), folder).files
    return folder / name


def read_again(path: Path, folder: Path) -> StageResult:
    result = ingest(IngestParameters(reference_time=REFERENCE, max_reject_rate=1), path, folder)
    assert result.counts["read"] == result.counts["ingested"] + result.counts["rejected"]
    return result


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("file_format", ["json", "jsonl"])
def test_an_export_is_read_as_the_records_it_was_made_of(
    file_format: str, compression: str, before: list[dict[str, Any]], database_url: str, tmp_path: Path
) -> None:
    path = exported(database_url, tmp_path, file_format, compression)
    assert read_again(path, tmp_path / "again").counts == {"read": 8, "ingested": 8, "rejected": 0}
    assert dataset(tmp_path / "again") == before


@pytest.mark.parametrize("indent", [None, 2])
def test_an_export_that_was_formatted_anew_or_put_together_is_read_whole(
    indent: int | None, before: list[dict[str, Any]], database_url: str, tmp_path: Path
) -> None:
    whole = json.loads(exported(database_url, tmp_path, "json").read_bytes())
    halves = [{**whole, "data": whole["data"][:3]}, {**whole, "data": []}, {**whole, "data": whole["data"][3:]}]
    text = "\n".join(json.dumps(half, indent=indent) for half in halves) + "\n" + json.dumps([RECORDS[0]])
    (tmp_path / "parts").write_text(text)
    result = read_again(tmp_path / "parts", tmp_path / "out")
    assert result.details["rejects_by_reason"] == {"duplicate_id": 1}
    assert result.details["source"]["layout"] == "export"
    assert [row["id"] for row in dataset(tmp_path / "out")] == [row["id"] for row in before]


def test_an_export_that_is_cut_off_or_edited_keeps_its_whole_records(
    before: list[dict[str, Any]], database_url: str, tmp_path: Path
) -> None:
    text = exported(database_url, tmp_path, "json").read_bytes()
    (tmp_path / "cut").write_bytes(text[:-50].replace(b'"id":1,', b'"id":-1,'))
    assert read_again(tmp_path / "cut", tmp_path / "out").counts == {"read": 9, "ingested": 6, "rejected": 3}
    assert [reject["reason"] for reject in rejects(tmp_path)] == ["out_of_range", "malformed", "malformed"]


@pytest.mark.parametrize(
    ("extra", "reason", "field"),
    [
        ([], "wrong_type", "extra"),
        ({"customer": "Zoë"}, "wrong_type", "extra.customer"),
        ({"id": 99, "customer": {"name": "nobody"}}, "", ""),
    ],
)
def test_an_extra_that_is_no_object_is_rejected_and_one_that_names_known_fields_changes_none(
    extra: Any, reason: str, field: str, tmp_path: Path
) -> None:
    row = {**dict.fromkeys(EXPORTED_FIELDS), **RECORDS[3], "customer_name": "Zoë", "extra": extra}
    result = ingested(tmp_path, json.dumps(row).encode() + b"\n" + json.dumps(RECORDS[4]).encode())
    assert [(reject["reason"], reject["field"]) for reject in rejects(tmp_path)] == (
        [(reason, field)] if reason else []
    )
    if result.counts["rejected"] == 0:
        assert (
            dataset(tmp_path / "out")[0] | {"id": 3, "customer_name": "Zoë", "extra": {}}
            == dataset(tmp_path / "out")[0]
        )


def test_a_parquet_export_is_refused_and_the_exports_that_are_read_are_named(
    before: list[dict[str, Any]], database_url: str, tmp_path: Path
) -> None:
    for file_format in ("parquet", "csv"):
        with pytest.raises(
            InputUnreadable, match=r"give JSON Lines or a JSON array \(of this pipeline's exports, json"
        ):
            read_again(exported(database_url, tmp_path, file_format), tmp_path / "out")
