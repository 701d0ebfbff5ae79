"""Promise P24 for input files: the memory of an ingestion, in a process of its own, stays flat whatever comes in."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import pytest
import zstandard

from tests.unit.json_files import RECORDS, REFERENCE
from workbench.base.settings import PROJECT

pytestmark = pytest.mark.promise("P24", "memory stays flat, however far a compressed input inflates")
MEBIBYTE = 1 << 20
BOUND = 500
"""MiB by which the peak of the resident memory may exceed that of the process after its imports."""
PROGRAM = """
import sys
from pathlib import Path
from workbench.base.errors import InputRejected
from pipeline_lib.parameters import IngestParameters
from pipeline_lib.ingest import ingest

def peak():
    # Not ru_maxrss, which begins with what the parent had when it forked; VmHWM begins anew with the program.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10

before = peak()
parameters = IngestParameters(reference_time=sys.argv[3], max_reject_rate=1)
try:
    print(dict(ingest(parameters, Path(sys.argv[1]), Path(sys.argv[2])).counts))
except InputRejected as error:
    print(f"{type(error).__name__}: {error}")
print(peak() - before)
"""
RECORD = json.dumps(RECORDS[0]).encode()
TEXT = b'{"id": 7, "name": "'
MARK = b"\xef\xbb\xbf"
INFLATED: dict[str, tuple[tuple[bytes, bytes, int, bytes], str]] = {
    "2 GiB, one line": ((RECORD + b"\n" + TEXT, b"x" * MEBIBYTE, 2048, b""), "'read': 2, 'ingested': 1"),
    "1 GiB, one element": ((b"[" + RECORD + b",\n" + TEXT, b"x" * MEBIBYTE, 1024, b""), "'ingested': 1"),
    "150 MiB, one object over several lines": (
        (b'{\n"items": [\n', (b"  " + RECORD + b",\n") * 1000, 2000, b"  {}\n]}"),
        "holds an array, 'items'",
    ),
    "1 GiB of blanks": ((RECORD, b" " * MEBIBYTE, 1024, b"\n" + RECORD), "'read': 2, 'ingested': 1"),
    "100 million blank lines": ((RECORD, b"\n" * MEBIBYTE, 100, b""), "'read': 1"),
    "200 MiB of byte order marks": ((RECORD + b"\n", MARK * MEBIBYTE, 67, b""), "'read': 2, 'ingested': 1"),
    "250 million brackets, one within the other": ((b"[" + RECORD + b",", b"[" * MEBIBYTE, 250, b""), "'ingested': 1"),
    "one key of 50 MiB": ((RECORD + b'\n{"', b"k" * MEBIBYTE, 50, b'": 1, "id": 1, "id": 2}'), "'rejected': 1"),
    "1,000,000 equal records": ((b"", (RECORD + b"\n") * 1000, 1000, b""), "'ingested': 1"),
    "400,000 lines that are no records": ((RECORD + b"\n", b"12\n" * 1000, 400, b""), "'rejected': 400000"),
    "a record of 32 million values": (
        (RECORD + b'\n{"id": 1, "list": [', b"1," * (MEBIBYTE // 2), 60, b"1]}\n"),
        "'rejected': 1",
    ),
}


def grown(tmp_path: Path, path: Path) -> tuple[str, int]:
    """Ingest a file; return what came of it and by how many MiB the peak grew."""
    command = [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "out"), REFERENCE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    *told, mebibytes = done.stdout.splitlines()
    print(f"{path.stat().st_size:,} bytes: {mebibytes} MiB, {told}")
    return "\n".join(told), int(mebibytes)


def write_zstd(path: Path, start: bytes, piece: bytes, times: int, end: bytes) -> None:
    with path.open("wb") as file, zstandard.ZstdCompressor(9).stream_writer(file) as stream:
        for each in (start, *repeat(piece, times), end):
            stream.write(each)


def lines_of_one_mebibyte(count: int) -> bytes:
    return b"".join(json.dumps({**RECORDS[0], "id": n, "note": "x" * MEBIBYTE}).encode() + b"\n" for n in range(count))


@pytest.mark.parametrize("kind", INFLATED)
def test_a_zstd_file_that_inflates_is_read_in_flat_memory(kind: str, tmp_path: Path) -> None:
    content, outcome = INFLATED[kind]
    write_zstd(tmp_path / "input.zst", *content)
    told, mebibytes = grown(tmp_path, tmp_path / "input.zst")
    assert outcome in told
    assert mebibytes < BOUND


WRITTEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "a gzip file of one line of 500 MiB": (
        lambda: gzip.compress(RECORD + b"\n" + TEXT + b"x" * (500 * MEBIBYTE), 1),
        "'read': 2, 'ingested': 1",
    ),
    "500 MiB of texts that all are kept": (
        lambda: zstandard.ZstdCompressor(1).compress(lines_of_one_mebibyte(500)),
        "'ingested': 500",
    ),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_long_texts_are_read_in_flat_memory(kind: str, tmp_path: Path) -> None:
    write, outcome = WRITTEN[kind]
    (tmp_path / "input").write_bytes(write())
    told, mebibytes = grown(tmp_path, tmp_path / "input")
    assert outcome in told
    assert mebibytes < BOUND


def test_records_near_the_largest_size_take_no_more_memory_the_more_there_are(tmp_path: Path) -> None:
    rows = ({**RECORDS[0], "id": number, "note": "x" * (60 * MEBIBYTE)} for number in range(7))
    write_zstd(tmp_path / "input.zst", b"", b"", 0, b"\n".join(json.dumps(row).encode() for row in rows))
    told, mebibytes = grown(tmp_path, tmp_path / "input.zst")
    assert "'ingested': 7" in told
    assert mebibytes < 1_200


def test_a_zstd_file_that_wants_a_window_of_gibibytes_is_refused_in_one_line(tmp_path: Path) -> None:
    frame = bytes.fromhex("28b52ffd 00 a8 0100 00")  # RFC 8878: a window of 2 GiB (exponent 21), one empty last block
    (tmp_path / "input.zst").write_bytes(frame)
    told, mebibytes = grown(tmp_path, tmp_path / "input.zst")
    assert "needs a window of more than 128 MiB; compress it with --long=27 or less" in told
    assert mebibytes < BOUND
