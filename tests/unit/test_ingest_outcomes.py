"""The three errors that stop an ingestion, and what a good one leaves behind."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import IngestParameters
from pipeline_lib.record import DATASET_SCHEMA
from tests.unit.json_files import LINES, RECORDS, REFERENCE, ingested, rejects
from workbench.base.errors import InputEmpty, InputUnreadable, InvalidParameter, TooManyRejects
from workbench.data.rejects import read_rejects
from workbench.stage.artefacts import Counted


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b" \n\r\n\t", b"[]", b"[ \n ]", gzip.compress(b"", mtime=0)])
def test_a_file_without_a_record_is_empty(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputEmpty, match="input: holds no record"):
        ingested(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"id,name\n1,Lamp\n",
        b"\x89PNG\r\n\x1a\n\0\0",
        b"PK\x03\x04\0\0\0\0",
        b"plain prose",
        "[]".encode("utf-16"),
        json.dumps(RECORDS).encode("utf-16-le"),
        b"5\n6\n",
    ],
)
def test_what_is_no_json_at_all_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable, match=r"input: is no(t UTF-8| JSON)") as caught:
        ingested(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compression_that_breaks_on_the_way_names_where(compress: object, tmp_path: Path) -> None:
    content = compress(LINES * 50)  # type: ignore[operator]
    for broken in (content[:-3], content[: len(content) // 2], content + b"garbage", content[:40] + b"\xff" * 200):
        with pytest.raises(InputUnreadable, match=r"input: broken (gzip|zstd) after [0-9,]+ uncompressed bytes"):
            ingested(tmp_path, broken)
    assert list((tmp_path / "out").glob("*")) == []


def test_a_missing_file_a_folder_and_an_impossible_name_are_unreadable(tmp_path: Path) -> None:
    parameters = IngestParameters(reference_time=REFERENCE)
    for path, reason in ((tmp_path / "none.json", "no such file"), (tmp_path, "not a file"), (Path("a\0b"), "null")):
        with pytest.raises(InputUnreadable, match=reason):
            ingest(parameters, path, tmp_path / "out")


def test_too_many_rejects_name_file_rate_and_first_line_and_keep_the_rejects(tmp_path: Path) -> None:
    with pytest.raises(TooManyRejects) as caught:
        ingested(tmp_path, LINES + b'\n\n{"id": 7}\n{"id": 8}\n', max_reject_rate=0.2)
    assert str(caught.value).startswith(
        f"{tmp_path}/input: 2 of 7 records rejected (28.6%, at most 20.0% allowed); "
        "first: line 7, field 'name': missing_field; all of them in "
    )
    assert [reject["line"] for reject in rejects(tmp_path)] == [7, 8]
    assert not (tmp_path / "out" / "dataset.parquet").exists()
    counted = Counted.read(tmp_path / "out")
    assert counted.counts == {"read": 7, "rejected": 2}
    assert counted.details == {"rejects_by_reason": {"missing_field": 2}}


def test_exactly_the_allowed_share_of_rejects_passes(tmp_path: Path) -> None:
    assert ingested(tmp_path, LINES.replace(b'"id": 0', b'"id": -1'), max_reject_rate=0.2).counts["rejected"] == 1


@pytest.mark.parametrize("allowed", [0, 1, 29, 57, 58, 99])
def test_not_one_reject_more_than_the_allowed_share_passes(allowed: int, tmp_path: Path) -> None:
    def lines(bad: int) -> bytes:
        rows = [{**RECORDS[0], "id": number if number >= bad else -1} for number in range(100)]
        return "\n".join(map(json.dumps, rows)).encode()

    assert ingested(tmp_path, lines(allowed), float(f"0.{allowed:02}")).counts["rejected"] == allowed
    with pytest.raises(TooManyRejects, match=f"{allowed + 1} of 100 records"):
        ingested(tmp_path, lines(allowed + 1), float(f"0.{allowed:02}"))


def test_a_third_of_three_is_not_more_than_a_third(tmp_path: Path) -> None:
    content = b"\n".join(LINES.split(b"\n")[:2]) + b"\n{}"
    assert ingested(tmp_path, content, max_reject_rate=1 / 3).counts["rejected"] == 1


def test_a_clock_that_is_not_fixed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(LINES)
    with pytest.raises(InvalidParameter, match="reference_time"):
        ingest(IngestParameters(), tmp_path / "input", tmp_path / "out")


def test_the_dataset_has_the_promised_columns_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    ingested(tmp_path, LINES)
    first = (tmp_path / "out" / "dataset.parquet").read_bytes()
    ingested(tmp_path, LINES)
    assert (tmp_path / "out" / "dataset.parquet").read_bytes() == first
    assert pq.read_schema(tmp_path / "out" / "dataset.parquet").equals(DATASET_SCHEMA)


def test_rejects_read_as_a_table_also_when_there_are_none(tmp_path: Path) -> None:
    ingested(tmp_path, LINES)
    assert read_rejects(tmp_path / "out").shape == (0, 4)
    ingested(tmp_path, b'[{"id": 1}]', allow_empty=True)
    assert read_rejects(tmp_path / "out").columns == ["position", "field", "reason", "raw"]
