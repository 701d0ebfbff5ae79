"""Every shape a JSON file comes in is recognised, and a broken record leaves its neighbours alone."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from tests.unit.json_files import LINES, RECORDS, ids, ingested, rejects
from workbench.base.errors import InputUnreadable
from workbench.data import input_file

SHAPES = {
    "lines": LINES + b"\n",
    "no last newline": LINES,
    "byte order mark": b"\xef\xbb\xbf" + LINES,
    "CRLF": LINES.replace(b"\n", b"\r\n") + b"\r\n",
    "blank lines": b"\n \n" + LINES.replace(b"\n", b"\n\n\r\n") + b"\n\t\n",
    "array on one line": json.dumps(RECORDS).encode(),
    "compact array": json.dumps(RECORDS, separators=(",", ":")).encode(),
    "indented array": json.dumps(RECORDS, indent=2).encode(),
    "indented by tabs, CRLF, mark": b"\xef\xbb\xbf" + json.dumps(RECORDS, indent="\t").replace("\n", "\r\n").encode(),
    "array of one line each": b"[\n" + LINES.replace(b"\n", b",\n") + b"\n]\n",
    "leading commas": b"[\n" + LINES.replace(b"\n", b"\n,") + b"\n]",
    "pretty-printed objects in a row": "\n".join(json.dumps(record, indent=2) for record in RECORDS).encode(),
    "gzip": gzip.compress(LINES),
    "two gzip members": gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]) + b"\0" * 64,
    "zstd": zstandard.compress(LINES),
    "two zstd frames": zstandard.compress(LINES[:100]) + zstandard.compress(LINES[100:]),
    "gzip array": gzip.compress(json.dumps(RECORDS, indent=4).encode()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_records(shape: str, tmp_path: Path) -> None:
    result = ingested(tmp_path, SHAPES[shape])
    assert result.counts == {"read": 5, "ingested": 5, "rejected": 0}
    assert ids(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [5, 64])
def test_where_chunks_are_cut_makes_no_difference(
    shape: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_file, "CHUNK_BYTES", size)
    monkeypatch.setattr(input_file, "_PIECES", dict.fromkeys(input_file._PIECES, size))
    assert ingested(tmp_path, SHAPES[shape]).counts["rejected"] == 0
    assert ids(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("zeros", [1, *input_file._PIECES.values(), 20_000, 100_000])
def test_zeros_between_compressed_members_and_after_them_hide_no_record(
    compress: Callable[[bytes], bytes], zeros: int, tmp_path: Path
) -> None:
    padding = b"\0" * zeros
    content = padding.join([compress(LINES[:100]), compress(LINES[100:200]), compress(LINES[200:]), b""])
    assert ingested(tmp_path, content).counts == {"read": 5, "ingested": 5, "rejected": 0}
    with pytest.raises(InputUnreadable, match="broken"):
        ingested(tmp_path, content + b"garbage")


def test_one_pretty_printed_object_is_one_record(tmp_path: Path) -> None:
    assert ingested(tmp_path, json.dumps(RECORDS[3], indent=2).encode()).counts["ingested"] == 1
    assert ids(tmp_path) == [3]


BROKEN = [
    '{"id": 9, "na',
    "{id: 9}",
    '{"id": 9, "name": "x"',
    '{"id": 9,',
    "}",
    "]x",
    '"',
    "nonsense",
    '{"a": [{"b": 1}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_line_leaves_its_neighbours_alone(text: str, tmp_path: Path) -> None:
    first, *others = LINES.split(b"\n")
    ingested(tmp_path, b"\n".join([first, text.encode(), *others]))
    assert ids(tmp_path) == [0, 1, 2, 3, 4]
    assert rejects(tmp_path) == [{"line": 2, "field": None, "reason": "malformed", "raw": text}]


@pytest.mark.parametrize("text", BROKEN[:5] + BROKEN[6:8])
@pytest.mark.parametrize("place", [0, 2, 5])
@pytest.mark.parametrize("indentation", ["", "  ", "\t"])
def test_a_broken_element_leaves_its_neighbours_alone(text: str, place: int, indentation: str, tmp_path: Path) -> None:
    rows = [json.dumps(record) for record in RECORDS]
    rows.insert(place, text)
    ingested(tmp_path, ("[\n" + ",\n".join(indentation + row for row in rows) + "\n]\n").encode())
    assert ids(tmp_path) == [0, 1, 2, 3, 4]
    (reject,) = rejects(tmp_path)
    assert (reject["position"], reject["reason"]) == (place + 1, "malformed")
    assert str(reject["raw"]).rstrip(",") == text.rstrip(",")


def test_a_broken_element_of_an_indented_array_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    text = json.dumps(RECORDS, indent=2).replace('"name": "Lamp 2"', '"name": "Lamp 2')
    ingested(tmp_path, text.encode())
    assert ids(tmp_path) == [0, 1, 3, 4]
    assert [(reject["position"], reject["reason"]) for reject in rejects(tmp_path)] == [(3, "malformed")]


def test_a_broken_element_on_one_line_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    ingested(tmp_path, json.dumps(RECORDS).replace('"id": 2', '"id": ').encode())
    assert ids(tmp_path) == [0, 1, 3, 4]


def test_objects_and_brackets_inside_values_do_not_end_an_element(tmp_path: Path) -> None:
    tricky = [{**record, "note": ['}, {"', {"a": [{}, {"b": "]"}]}, '\\"}, {']} for record in RECORDS]
    for text in (json.dumps(tricky), json.dumps(tricky, indent=1), "\n".join(map(json.dumps, tricky))):
        ingested(tmp_path, text.encode())
        extras = pq.read_table(tmp_path / "out" / "dataset.parquet")["extra"].to_pylist()
        assert [json.loads(extra)["note"] for extra in extras] == [record["note"] for record in tricky]


@pytest.mark.parametrize("text", ["5", '"text, with comma"', "null", "[1, [2]]", "true"])
def test_an_element_that_is_no_object_is_a_wrong_type(text: str, tmp_path: Path) -> None:
    ingested(tmp_path, f"[{json.dumps(RECORDS[0])}, {text}, {json.dumps(RECORDS[1])}, {text}]".encode())
    assert ids(tmp_path) == [0, 1]
    assert [(reject["position"], reject["reason"]) for reject in rejects(tmp_path)] == [
        (2, "wrong_type"),
        (4, "wrong_type"),
    ]


@pytest.mark.parametrize("cut", [1, 2, 30, 60])
def test_a_truncated_file_keeps_its_whole_records(cut: int, tmp_path: Path) -> None:
    assert ingested(tmp_path, LINES[:-cut]).counts == {"read": 5, "ingested": 4, "rejected": 1}
    array = json.dumps(RECORDS, indent=2).encode()
    assert ingested(tmp_path, array[: -cut - 6]).counts["rejected"] >= 1
    assert ids(tmp_path) == [0, 1, 2, 3]


def test_an_array_that_is_never_closed_or_goes_on_after_its_end_is_told(tmp_path: Path) -> None:
    assert ingested(tmp_path, json.dumps(RECORDS)[:-1].encode()).counts == {"read": 6, "ingested": 5, "rejected": 1}
    assert rejects(tmp_path)[0]["position"] == 6
    assert ingested(tmp_path, json.dumps(RECORDS).encode() + b"\ntrailing").counts["rejected"] == 1
    assert rejects(tmp_path)[0]["raw"] == "trailing"


def test_the_first_accepted_record_keeps_its_id(tmp_path: Path) -> None:
    rows = [{**RECORDS[0], "value": -1}, RECORDS[0], {**RECORDS[0], "name": " padded "}, RECORDS[1], RECORDS[0]]
    result = ingested(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    assert [(reject["line"], reject["reason"]) for reject in rejects(tmp_path)] == [
        (1, "out_of_range"),
        (3, "duplicate_id"),
        (5, "duplicate_id"),
    ]
    assert result.details["repaired"] == {"name": 0, "category": 0, "value": 0}


def test_raw_text_is_cut_at_2000_characters_and_kept_printable(tmp_path: Path) -> None:
    ingested(tmp_path, LINES + b'\n{"id": "\xff' + "ä".encode() * 3000 + b'"}\n')
    raw = rejects(tmp_path)[0]["raw"]
    assert raw == '{"id": "\ufffd' + "ä" * 1991


@pytest.mark.promise("P24", "what is kept of rejects is bounded")
def test_the_raw_text_of_all_rejects_together_is_bounded_and_each_is_still_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.data.rejects.RAW_TOTAL", 10_000)
    lines = [b'{"%s": 1, "id": 1, "id": 2}' % (b"k" * 5_000), *[b'{"id": %d, "%s' % (n, b"x" * 990) for n in range(98)]]
    ingested(tmp_path, LINES + b"\n" + b"\n".join(lines))
    kept = rejects(tmp_path)
    assert [reject["line"] for reject in kept] == list(range(6, 105))
    assert [reject["raw"] is None for reject in kept].index(True) == 9
    assert sum(len(str(reject["raw"] or "")) for reject in kept) < 10_000 + 2_000


@pytest.mark.promise("P24", "what is kept of rejects is bounded")
def test_the_path_of_a_rejected_field_is_cut(tmp_path: Path) -> None:
    ingested(tmp_path, LINES + b'\n{"%s": 1, "%s": 2}' % (b"k" * 5_000, b"k" * 5_000))
    assert [len(str(reject["field"])) for reject in rejects(tmp_path)] == [200]


def test_lines_and_elements_of_ten_megabytes_pass(tmp_path: Path) -> None:
    rows = [{**RECORDS[0], "note": 'a"\\' * 3_000_000}, RECORDS[1], {**RECORDS[2], "name": "x" * 10_000_000}]
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps(rows, indent=1)):
        assert ingested(tmp_path, text.encode()).details["rejects_by_reason"] == {"out_of_range": 1}
        assert ids(tmp_path) == [0, 1]


@pytest.mark.parametrize("is_array", [False, True])
def test_a_record_longer_than_the_limit_is_refused_in_flat_memory(
    is_array: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_file, "CHUNK_BYTES", 1 << 10)
    monkeypatch.setattr("workbench.data.json_stream.MAX_RECORD_BYTES", 1 << 14)
    monkeypatch.setattr("workbench.data.json_stream.KEPT_BYTES", 1 << 8)
    rows = [json.dumps(record) for record in RECORDS]
    rows[2] = json.dumps({**RECORDS[2], "note": "x" * (1 << 16)})
    text = "[\n" + ",\n".join(rows) + "\n]" if is_array else "\n".join(rows)
    assert ingested(tmp_path, text.encode()).details["rejects_by_reason"] == {"too_large": 1}
    assert ids(tmp_path) == [0, 1, 3, 4]
