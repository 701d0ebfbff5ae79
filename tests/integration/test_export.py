"""Stage 5 on a real database: every format comes back as what went in, whole, or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline_lib.export import chosen_output, export
from pipeline_lib.parameters import ExportParameters
from pipeline_lib.record import EXPORTED_FIELDS
from tests.integration.dataset_rows import HOSTILE
from tests.integration.mart_rows import MOMENT, create_mart, mart_row
from workbench.base.errors import ConservationBroken, ManifestBroken, ServiceUnavailable
from workbench.data.output_formats import Output
from workbench.stage.artefacts import StageResult, schema_of, sha256_of

RUN = "20261123t083012_a1b2c3"
ROWS = [
    mart_row(i, name=text or "x", customer_name=text, extra={text: [text, 1.5, None]}) for i, text in enumerate(HOSTILE)
] + [mart_row(100), mart_row(101, value=Decimal("0.00"), value_percentile=1e-7, extra={})]


@pytest.fixture
def mart(database_url: str) -> str:
    create_mart(database_url, schema_of(RUN), ROWS[::-1])
    return database_url


def exported(database_url: str, folder: Path, file_format: str = "json", compression: str = "none") -> StageResult:
    return export(database_url, Output(RUN, MOMENT, file_format, compression), folder)


def content(folder: Path, result: StageResult) -> bytes:
    return (folder / next(iter(result.files))).read_bytes()


def as_exported(row: dict[str, Any]) -> dict[str, Any]:
    moments = {name: f"{row[name]:%Y-%m-%dT%H:%M:%S.%fZ}" for name in ("created_at", "processed_at", "transformed_at")}
    return {**row, **moments, "extra": row["extra"] or {}}


def parsed(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


def expected() -> list[dict[str, Any]]:
    return [{**as_exported(row), "value_percentile": Decimal(str(row["value_percentile"]))} for row in ROWS]


def test_the_json_document_holds_every_record_in_order_of_id(mart: str, tmp_path: Path) -> None:
    result = exported(mart, tmp_path)
    document = parsed(content(tmp_path, result))
    assert list(document) == ["pipeline_id", "generated_at", "record_count", "data"]
    assert (document["pipeline_id"], document["generated_at"]) == (RUN, "2026-11-23T08:30:12.000000Z")
    assert document["record_count"] == len(ROWS) == result.counts["exported"]
    assert [list(record) for record in document["data"]] == [list(EXPORTED_FIELDS)] * len(ROWS)
    extras = [(record.pop("extra"), row.pop("extra")) for record, row in zip(document["data"], expected(), strict=True)]
    assert all(json.dumps(found, default=float) == json.dumps(wanted) for found, wanted in extras)
    assert document["data"] == [{k: v for k, v in row.items() if k != "extra"} for row in expected()]


def test_money_has_exactly_two_decimals_in_json(mart: str, tmp_path: Path) -> None:
    text = content(tmp_path, exported(mart, tmp_path)).decode()
    assert '"value":12.30,' in text
    assert '"value":0.00,' in text
    assert '"category_avg_value":99999999990000.00,' in text


@pytest.mark.parametrize(("compression", "suffix"), [("none", ""), ("gzip", ".gz"), ("zstd", ".zst")])
def test_json_lines_are_the_same_records_however_compressed(
    mart: str, tmp_path: Path, compression: str, suffix: str
) -> None:
    result = exported(mart, tmp_path, "jsonl", compression)
    opened = {
        "none": bytes,
        "gzip": gzip.decompress,
        "zstd": lambda b: zstandard.ZstdDecompressor().stream_reader(b).read(),
    }
    lines = opened[compression](content(tmp_path, result)).decode().removesuffix("\n").split("\n")
    assert list(result.files) == [f"pipeline_{RUN}_results_20261123T083012Z.jsonl{suffix}"]
    assert [parsed(line.encode())["id"] for line in lines] == [row["id"] for row in ROWS]
    assert [parsed(line.encode())["customer_name"] for line in lines] == [row["customer_name"] for row in ROWS]


@pytest.mark.promise("S14", "cells of a CSV are no formulas")
def test_csv_comes_back_equal_and_no_cell_is_a_formula(mart: str, tmp_path: Path) -> None:
    text = content(tmp_path, exported(mart, tmp_path, "csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert list(rows[0]) == list(EXPORTED_FIELDS)
    for found, row in zip(rows, ROWS, strict=True):
        name = row["customer_name"] or ""
        assert found["customer_name"] == (f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name)
        assert (found["value"], found["is_active"]) == (str(row["value"]), "true")
        assert float(found["value_percentile"]) == row["value_percentile"]
        assert json.loads(found["extra"]) == (row["extra"] or {})
    assert text.split("\n", 1)[0].endswith("\r")


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_csv_begins_with_a_byte_order_mark_when_that_is_asked_for(mart: str, tmp_path: Path, compression: str) -> None:
    parameters = ExportParameters(export_format="csv", compression=compression, csv_bom=True)
    result = export(mart, chosen_output(RUN, MOMENT, parameters), tmp_path / "marked")
    plain = content(tmp_path / "plain", exported(mart, tmp_path / "plain", "csv"))
    marked = content(tmp_path / "marked", result)
    assert (gzip.decompress(marked) if compression == "gzip" else marked) == b"\xef\xbb\xbf" + plain


@pytest.mark.promise("S14", "cells of a CSV are no formulas")
def test_tab_and_carriage_return_at_the_beginning_are_neutralised_too(database_url: str, tmp_path: Path) -> None:
    create_mart(
        database_url, schema_of(RUN), [mart_row(0, name="\ta"), mart_row(1, name="\ra"), mart_row(2, name="a=")]
    )
    text = content(tmp_path, exported(database_url, tmp_path, "csv")).decode()
    assert [row["name"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ["'\ta", "'\ra", "a="]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_parquet_keeps_the_types(mart: str, tmp_path: Path, compression: str) -> None:
    result = exported(mart, tmp_path, "parquet", compression)
    path = tmp_path / f"pipeline_{RUN}_results_20261123T083012Z.parquet"
    assert pq.read_schema(path) == pa.schema(list(EXPORTED_FIELDS.items()))
    rows = pq.read_table(path).to_pylist()
    assert [{**row, "extra": json.loads(row["extra"])} for row in rows] == [
        {**row, "extra": row["extra"] or {}} for row in ROWS
    ]
    assert result.files[path.name] == len(ROWS)


@pytest.mark.parametrize("file_format", ["json", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_exporting_again_leaves_the_same_bytes(mart: str, tmp_path: Path, file_format: str, compression: str) -> None:
    first = exported(mart, tmp_path / "a", file_format, compression)
    again = exported(mart, tmp_path / "b", file_format, compression)
    assert first == again
    assert sha256_of(tmp_path / "b" / next(iter(again.files))) == first.details["sha256"]


@pytest.mark.parametrize("file_format", ["json", "jsonl", "csv", "parquet"])
def test_an_empty_mart_is_an_empty_file_of_its_format(database_url: str, tmp_path: Path, file_format: str) -> None:
    create_mart(database_url, schema_of(RUN), [])
    result = exported(database_url, tmp_path, file_format)
    assert result.counts == {"exported": 0}
    if file_format == "json":
        assert json.loads(content(tmp_path, result))["data"] == []


def test_a_run_without_a_mart_is_told_to_be_transformed_first(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestBroken, match="run stage 4"):
        exported(database_url, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_database_that_is_gone_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="no connection to PostgreSQL"):
        exported("postgresql://nobody@127.0.0.1:9/nowhere", tmp_path)


def test_a_row_that_is_lost_on_the_way_leaves_no_file(mart: str, tmp_path: Path) -> None:
    class Forgetful(Output):
        @property
        def writer(self) -> Any:
            return lambda file, fields, batches, head: super(Forgetful, self).writer(file, fields, batches, head) - 1

    with pytest.raises(ConservationBroken, match=f"there are {len(ROWS)} records, but {len(ROWS) - 1} were exported"):
        export(mart, Forgetful(RUN, MOMENT), tmp_path)
    assert not list(tmp_path.iterdir())


def test_count_and_rows_are_of_one_moment(mart: str, tmp_path: Path) -> None:
    """A row added when the count is known, before the first row is read, is not in the file."""

    def add(done: int, _total: int | None) -> None:
        if not done:
            with closing(psycopg2.connect(mart)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(f"insert into {schema_of(RUN)}.item_metrics (id) values (999)")

    result = export(mart, Output(RUN, MOMENT), tmp_path, add)
    assert result.counts == {"exported": len(ROWS)}


def test_the_name_holds_the_moment_in_utc_and_the_compression() -> None:
    moment = datetime.fromisoformat("2026-11-23T09:30:12+01:00").astimezone(UTC)
    parameters = ExportParameters(export_format="csv", compression="zstd")
    assert chosen_output(RUN, moment, parameters).file_name == f"pipeline_{RUN}_results_20261123T083012Z.csv.zst"


def test_two_thousand_records_cross_batches_without_a_seam(database_url: str, tmp_path: Path) -> None:
    wide = "x" * 5000
    rows: Iterator[dict[str, Any]] = (mart_row(i, customer_email=wide) for i in range(2000))
    create_mart(database_url, schema_of(RUN), list(rows))
    document = json.loads(content(tmp_path, exported(database_url, tmp_path)))
    assert [record["id"] for record in document["data"]] == list(range(2000))
