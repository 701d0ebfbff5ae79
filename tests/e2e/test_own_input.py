"""Own files, and input that cannot be used: one clear line, no traceback."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import WORKBENCH, Workbench
from workbench.base.settings import Settings

RECORD = {"id": 1, "name": " Lamp ", "category": "b", "value": 10.005, "quantity": 3, "colour": {"name": "red"}}


def records(count: int) -> list[dict[str, Any]]:
    return [{**RECORD, "id": number} for number in range(count)]


def test_an_indented_gzipped_array_with_a_byte_order_mark_goes_through(workbench: Workbench, tmp_path: Path) -> None:
    path = tmp_path / "own file.json.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(records(40), indent=2).encode()))
    document = workbench.json("run", "--input-file", str(path))
    assert document["records"]["generated"] == document["records"]["exported"] == 40
    assert document["stages"][0]["status"] == "skipped"
    first = json.loads(Path(document["output_file"]).read_text())["data"][0]
    assert (first["name"], first["category"], first["value"]) == ("Lamp", "B", 10.01)
    assert first["extra"] == {"colour": {"name": "red"}}


def test_too_many_rejects_fail_the_run_and_name_file_and_first_line(workbench: Workbench, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    lines = [*records(6), {**RECORD, "id": -1}, {"id": 99}]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    done = workbench("run", "--input-file", str(path), "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["status"] == "failed"
    assert document["error"]["name"] == "TooManyRejects"
    assert str(path) in document["error"]["message"]
    assert "line 7" in document["error"]["message"]
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("workbench: stage ingest, cell")
    assert "Traceback" not in done.stderr


def test_a_terminal_is_told_once_why_a_run_failed(workbench: Workbench, tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.touch()
    code, shown = on_a_terminal(workbench, "run", "--input-file", str(path))
    assert code == 1
    assert shown.count("InputEmpty") == 1, shown
    assert "workbench open" in shown
    log = Path(workbench.environment["WORKBENCH_HOME"]) / "logs" / "workbench.log"
    assert any(str(path) in line and "refused or failed" in line for line in log.read_text("utf-8").splitlines())


def on_a_terminal(workbench: Workbench, *arguments: str) -> tuple[int, str]:
    """Run a command whose stdout and stderr are one terminal; returns its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **workbench.environment, "COLUMNS": "200"}
    with subprocess.Popen([WORKBENCH, *arguments], env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b"".join(iter(partial(_read, ours), b""))
    os.close(ours)
    return process.returncode, shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody writes to it any more
        return b""


@pytest.mark.parametrize(("content", "name"), [(b"", "InputEmpty"), (b"\x89PNG\r\n\x1a\n\x00\x00", "")])
def test_a_file_that_holds_no_json_fails_with_one_line(
    workbench: Workbench, tmp_path: Path, content: bytes, name: str
) -> None:
    path = tmp_path / "input.json"
    path.write_bytes(content)
    done = workbench("run", "--input-file", str(path))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert name in last
    assert str(path) in last
    assert "Traceback" not in done.stderr


REFUSED = [
    (["--records", "0"], "records"),
    (["--records", "ten"], "records"),
    (["--set", "recrods=5"], "recrods"),
    (["--set", "defect_rate=nan"], "defect_rate"),
    (["--set", "export_format=xml"], "export_format"),
    (["--input-file", "/nowhere/at/all.json"], "input_file"),
]


@pytest.mark.parametrize(("arguments", "field"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_starts(arguments: list[str], field: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = Workbench({"WORKBENCH_HOME": str(home)})("run", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"workbench: parameter {field}: ")
    assert len(done.stderr.splitlines()) == 1
    assert not home.exists()


def test_unknown_runs_are_refused(workbench: Workbench, settings: Settings) -> None:
    for identifier in ("20260101t000000_000000", "../../etc/passwd"):
        done = workbench("show", identifier)
        assert done.returncode == 2
        assert "`workbench runs` lists them" in done.stderr or "there is no run yet" in done.stderr
