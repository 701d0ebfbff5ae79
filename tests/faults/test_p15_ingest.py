"""Promise P15 at the door: of any file, every record is ingested as Python reads it, or rejected with its line."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import IngestParameters
from tests import hostile

pytestmark = pytest.mark.promise("P15", "every input record is accounted for: it comes out equal, or it is rejected")
CODECS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda content: gzip.compress(content, 1),
    "zstd": lambda content: zstandard.ZstdCompressor(1).compress(content),
}
SMALL_BROKEN = [raw for raw in hostile.BROKEN if len(raw) < 10_000]
TEXT = st.sampled_from(hostile.TEXTS) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NUMBER = (
    st.sampled_from(hostile.NUMBERS)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT,
        "category": st.sampled_from(["A", " b ", "c", "D", "E", "", "ß"]),
        "value": st.decimals(0, 99_999_999, places=4).map(float) | NUMBER,
        "quantity": st.integers(-1, 1_000_001) | VALUE,
        "is_active": st.booleans() | VALUE,
        "created_at": st.sampled_from(list(hostile.MOMENTS)) | TEXT,
        "customer": st.dictionaries(st.sampled_from(["name", "email", "country", "phone"]), TEXT | VALUE) | VALUE,
    },
)
MORE = st.dictionaries(st.sampled_from(hostile.KEYS) | TEXT, VALUE, max_size=3)
RECORD = st.builds(
    lambda number, fields, more: {**more, **hostile.record(number), **fields}, st.integers(0, 99), FIELDS, MORE
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A record's line with a piece cut out, put in or repeated; what becomes of it is for the parsers to say."""
    line = hostile.as_line(draw(RECORD))
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, min(len(line), start + 30)))
    snippets = st.sampled_from(
        [b"NaN", b"\\u0000", b"\\ud83d", b"\xff", b'"', b"{", b"]", b",", b"1e999", b"\\", b"\0", b"\t"]
    )
    piece = draw(snippets | st.binary(max_size=5) | st.just(line[start:end] * 2))
    return (line[:start] + piece + line[end:]).replace(b"\n", b"").replace(b"\r", b"")


LINE = RECORD.map(hostile.as_line) | damaged() | st.sampled_from(SMALL_BROKEN)
bounded = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def ingested(content: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows and rejects; the counts are theirs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "input").write_bytes(content)
        parameters = IngestParameters(reference_time=hostile.REFERENCE, max_reject_rate=1.0, allow_empty=True)
        counts = ingest(parameters, folder / "input", folder).counts
        rows = pq.read_table(folder / "dataset.parquet").to_pylist()
        rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert counts == {"read": len(rows) + len(rejects), "ingested": len(rows), "rejected": len(rejects)}
    return rows, rejects


def assert_is(row: dict[str, Any], fields: dict[str, Any]) -> None:
    """Compare a row of the dataset with the record as Python's own parser reads it."""
    customer = fields.get("customer") or {}
    assert row["id"] == fields["id"]
    assert (row["name"], row["category"]) == (fields["name"].strip(), fields["category"].strip().upper())
    assert row["value"] == fields["value"].quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert row["quantity"] == fields["quantity"]
    assert row["is_active"] is (fields.get("is_active") is not False)
    assert row["created_at"] == moment_of(fields)
    assert [row[f"customer_{part}"] for part in ("name", "email", "country")] == [
        customer.get(part) for part in ("name", "email", "country")
    ]
    assert repr(in_python(row["extra"] or "{}")) == repr(hostile.expected({**fields, "value": 1})["extra"])


def moment_of(fields: dict[str, Any]) -> datetime:
    text = fields.get("created_at") or hostile.REFERENCE
    moment = datetime.fromisoformat(text.upper())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def in_python(line: bytes | str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(line, parse_float=Decimal)
    if type(fields.get("value")) is int:
        fields["value"] = Decimal(fields["value"])
    return fields


@bounded
@given(
    st.lists(LINE, max_size=30),
    st.sampled_from(list(CODECS)),
    st.booleans(),
    st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]),
)
def test_of_json_lines_every_line_is_a_row_that_says_the_same_or_a_reject(
    lines: list[bytes], codec: str, mark: bool, line_end: bytes
) -> None:
    first = hostile.as_line(hostile.record(1_000_000))
    content = (b"\xef\xbb\xbf" if mark else b"") + line_end.join([first, *lines])
    rows, rejects = ingested(CODECS[codec](content))
    numbers = [number for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    refused = {reject["line"] for reject in rejects}
    kept = [
        line
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
        if number not in refused
    ]
    assert refused <= set(numbers)
    for row, line in zip(rows, filter(bytes.strip, kept), strict=True):
        assert_is(row, in_python(line))


@bounded
@given(st.lists(RECORD, min_size=1, max_size=20), st.sampled_from([None, 1, "\t"]), st.booleans(), st.booleans())
def test_an_array_or_objects_in_a_row_say_the_same_as_lines(
    records: list[dict[str, Any]], indent: Any, is_array: bool, escaped: bool
) -> None:
    texts = [json.dumps(each, ensure_ascii=escaped, indent=indent) for each in records]
    content = f"[{', '.join(texts)}]" if is_array else "\n".join(texts)
    rows, rejects = ingested(content.encode())
    by_lines, refused_lines = ingested(b"\n".join(map(hostile.as_line, records)))
    assert repr(rows) == repr(by_lines)
    assert [(each["field"], each["reason"]) for each in rejects] == [
        (each["field"], each["reason"]) for each in refused_lines
    ]


@bounded
@given(st.lists(RECORD, min_size=2, max_size=12), st.booleans(), st.data())
def test_a_file_cut_off_anywhere_keeps_what_is_whole(
    records: list[dict[str, Any]], is_array: bool, data: st.DataObject
) -> None:
    lines = [hostile.as_line(hostile.record(1_000_000)), *map(hostile.as_line, records)]
    content = b"[" + b",\n".join(lines) + b"]" if is_array else b"\n".join(lines)
    cut = data.draw(st.integers(len(lines[0]) + 2, len(content)), "cut")
    rows, rejects = ingested(content[:cut])
    whole, _ = ingested(content)
    complete = sum(end <= cut for end in ends_of(lines, is_array))
    assert rows == whole[: len(rows)]
    # What is cut in two is a reject, and so is the end that an array lacks.
    assert complete <= len(rows) + len(rejects) <= complete + 1 + is_array


def ends_of(lines: list[bytes], is_array: bool) -> list[int]:
    """Return where each line ends in the file."""
    gap, ends, position = (2 if is_array else 1), [], (1 if is_array else 0)
    for line in lines:
        ends.append(position + len(line))
        position = ends[-1] + gap
    return ends
