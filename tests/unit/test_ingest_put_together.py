"""Files put together end to end, as `cat` does: every record of every part is read, whatever the parts are."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from tests.unit.json_files import LINES, RECORDS, ids, ingested, rejects
from workbench.base.errors import InputEmpty
from workbench.data import input_file

MARK = b"\xef\xbb\xbf"


def array(*numbers: int, **style: Any) -> bytes:
    return json.dumps([RECORDS[number] for number in numbers], **style).encode()


def lines(*numbers: int) -> bytes:
    return b"\n".join(LINES.split(b"\n")[number] for number in numbers)


def indented(number: int) -> bytes:
    return json.dumps(RECORDS[number], indent=2).encode()


TOGETHER = {
    "two arrays on one line": array(0, 1, 2) + array(3, 4),
    "two arrays with a comma between": array(0, 1) + b",\n" + array(2, 3, 4),
    "two indented arrays": array(0, 1, 2, indent=2) + b"\n" + array(3, 4, indent=2) + b"\n",
    "two arrays with a byte order mark each": MARK + array(0, 1) + b"\r\n" + MARK + array(2, 3, 4),
    "two files of lines with a byte order mark each": MARK + lines(0, 1) + b"\n" + MARK + lines(2, 3, 4) + b"\n",
    "three of them with CRLF and blank lines": b"\r\n".join(
        [MARK + lines(0), b"", MARK + lines(1, 2), MARK, MARK + lines(3, 4)]
    ),
    "two of them without a line end between": MARK + lines(0, 1) + MARK + lines(2, 3, 4),
    "a gzip member with a mark for each file of lines": gzip.compress(MARK + lines(0, 1) + b"\n")
    + gzip.compress(MARK + lines(2, 3, 4)),
    "a zstd frame with a mark for each file of lines": zstandard.compress(MARK + lines(0, 1) + b"\n")
    + zstandard.compress(MARK + lines(2, 3, 4)),
    "an empty file with a mark, then lines": MARK + MARK + LINES,
    "objects over several lines with a mark for each file": b"\n".join(MARK + indented(n) for n in range(5)),
    "the first one broken off at its end": MARK + lines(0, 1, 2) + b" " + MARK + b"\n" + lines(3, 4) + MARK,
    "an array a line": b"\n".join([array(0), array(1, 2), b"[]", array(3, 4)]),
    "a gzip member for each array": gzip.compress(array(0, 1)) + gzip.compress(array(2, 3, 4)),
    "an empty array, then lines": b"[]\n" + LINES,
    "an array, then lines": array(0, 1) + b"\n" + lines(2, 3, 4),
    "lines between arrays": array(0) + b"\n" + lines(1, 2) + b"\n" + array(3, 4),
    "an indented object, then an array": indented(0) + b"\n" + array(1, 2, 3, 4),
}


@pytest.mark.parametrize("parts", TOGETHER)
@pytest.mark.parametrize("size", [5, 64, input_file.CHUNK_BYTES])
def test_all_records_of_files_put_together_are_read(
    parts: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_file, "CHUNK_BYTES", size)
    assert ingested(tmp_path, TOGETHER[parts]).counts == {"read": 5, "ingested": 5, "rejected": 0}
    assert ids(tmp_path) == [0, 1, 2, 3, 4]


def test_a_byte_order_mark_inside_of_a_text_is_kept_and_elsewhere_no_json(tmp_path: Path) -> None:
    marked = json.dumps({**RECORDS[1], "name": "a\ufeffb"}, ensure_ascii=False).encode()
    ingested(tmp_path, b"\n".join([lines(0), marked, b'{"id": ' + MARK + b"3}", b"\xbf" + lines(4) + MARK]))
    assert pq.read_table(tmp_path / "out" / "dataset.parquet")["name"].to_pylist() == ["Lamp 0", "a\ufeffb"]
    assert [(reject["line"], reject["reason"]) for reject in rejects(tmp_path)] == [(3, "malformed"), (4, "malformed")]


def test_hundreds_of_records_after_a_first_array_come_out_and_positions_count_on(tmp_path: Path) -> None:
    rows = [{**RECORDS[0], "id": number} for number in range(500)]
    rows[490]["value"] = -1
    content = json.dumps(rows[:20]) + "\n" + json.dumps(rows[20:])
    assert ingested(tmp_path, content.encode()).counts == {"read": 500, "ingested": 499, "rejected": 1}
    assert rejects(tmp_path)[0]["position"] == 491


def test_only_empty_arrays_hold_no_record(tmp_path: Path) -> None:
    with pytest.raises(InputEmpty, match="holds no record"):
        ingested(tmp_path, b"[]\n[ ]\n[]")


@pytest.mark.parametrize("broken", [b'{"id": 9, "na', b'{"id": 9]', b'[{"id": 9, "na', b"nonsense", b"]"])
def test_what_is_broken_between_arrays_leaves_them_alone(broken: bytes, tmp_path: Path) -> None:
    ingested(tmp_path, b"\n".join([array(0, 1), broken, array(2), array(3, 4)]))
    assert ids(tmp_path) == [0, 1, 2, 3, 4]
    (reject,) = rejects(tmp_path)
    assert (reject["position"], reject["reason"]) == (3, "malformed")


@pytest.mark.parametrize("broken", ['"tags"\n[{"a": 1}, {"b": 2}]', '"tags"\n[\n  {}\n  ],\n  {}\n ]', '"tags": ]'])
def test_a_broken_object_with_an_array_in_it_leaves_those_after_it_alone(broken: str, tmp_path: Path) -> None:
    first, *others = (json.dumps(record, indent=2) for record in RECORDS)
    ingested(tmp_path, "\n".join([first, f'{{\n  "id": 9,\n  {broken}\n}}', *others]).encode())
    assert ids(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_that_is_cut_off_leaves_the_next_one_alone(indent: int | None, tmp_path: Path) -> None:
    ingested(tmp_path, array(0, 1, 2, indent=indent)[:-40] + b"\n" + array(3, 4))
    assert ids(tmp_path) == [0, 1, 3, 4]
    assert [reject["position"] for reject in rejects(tmp_path)] == [3]


def test_a_last_array_that_is_never_closed_is_one_more_broken_element(tmp_path: Path) -> None:
    ingested(tmp_path, array(0, 1) + array(2, 3, 4)[:-1])
    assert ids(tmp_path) == [0, 1, 2, 3, 4]
    assert [reject["position"] for reject in rejects(tmp_path)] == [6]


def test_a_bracket_too_many_does_not_take_the_records_after_it_along(tmp_path: Path) -> None:
    ingested(tmp_path, array(0, 1) + b",\n" + lines(2, 3, 4).replace(b"\n", b",\n") + b"\n]\n")
    assert ids(tmp_path) == [0, 1, 2, 3, 4]
    assert [reject["raw"] for reject in rejects(tmp_path)] == ["]"]


@pytest.mark.parametrize("start", [b"", b"[]\n"])
def test_the_time_for_objects_in_a_row_grows_no_faster_than_their_number(start: bytes, tmp_path: Path) -> None:
    rows = [json.dumps({**RECORDS[0], "id": number, "customer": {}}, indent=2) for number in range(20_000)]
    began = time.process_time()
    assert ingested(tmp_path, start + "\n".join(rows).encode()).counts["ingested"] == 20_000
    assert time.process_time() - began < 6  # 0.5 s; a search through all that follows, for each record, takes 15 s
