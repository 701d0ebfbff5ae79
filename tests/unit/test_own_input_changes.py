"""An own input file belongs to somebody else: what is recorded of it is what was read, and a change is told."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import GenerateParameters, IngestParameters
from tests.unit.json_files import LINES, REFERENCE
from workbench.base.errors import InputUnreadable
from workbench.base.settings import Settings
from workbench.data import input_file
from workbench.jupyter.kernel_services import KernelServices
from workbench.jupyter.stage_session import HEADLESS, StageSession, as_the_run_has_it
from workbench.stage.artefacts import StageResult, sha256_of
from workbench.stage.progress import Progress
from workbench.stage.run_parameters import RunParameters

OTHER = LINES.replace(b"Lamp", b"Lump")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.json"
    path.write_bytes(LINES)
    return path


def parameters(own: Path) -> IngestParameters:
    return IngestParameters(input_file=str(own), reference_time=REFERENCE)


def session(own: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> StageSession:
    """The session of a headless notebook, which reaches no service."""
    monkeypatch.setenv(HEADLESS, "1")
    run = {"id": "20260102t030405_a1b2c3", "parameters": RunParameters(input_file=str(own)).model_dump()}
    opened = StageSession(KernelServices(Settings(_env_file=None, workbench_home=home)), run, "ingest", parameters(own))
    opened.begin()
    return opened


def test_a_file_that_changes_after_it_was_read_is_recorded_as_it_was_read(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = session(own, tmp_path / "home", monkeypatch)
    as_read = sha256_of(own)
    result = ingest(stage.parameters, stage.source, stage.folder)
    own.write_bytes(OTHER)
    assert stage.finish(result).inputs == {str(own): as_read}


def test_a_cell_that_reads_an_own_file_by_other_means_records_it_as_it_is(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = session(own, tmp_path / "home", monkeypatch)
    assert stage.finish(StageResult({"read": 5, "ingested": 5, "rejected": 0}, {})).inputs == {str(own): sha256_of(own)}


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        b"\xef\xbb\xbf" + LINES + b"\n\n",
        gzip.compress(LINES) + b"\0" * 40_000,
        gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]),
        zstandard.compress(LINES),
    ],
)
@pytest.mark.parametrize("size", [7, input_file.CHUNK_BYTES])
def test_the_hash_of_what_was_read_is_that_of_the_whole_file(
    content: bytes, size: int, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_file, "CHUNK_BYTES", size)
    own.write_bytes(content)
    assert ingest(parameters(own), own, tmp_path / "out").details["source"]["sha256"] == sha256_of(own)


def _written_later(own: Path) -> None:
    own.write_bytes(OTHER)
    os.utime(own, ns=(0, own.stat().st_mtime_ns + 1))


def _grown(own: Path) -> None:
    with own.open("ab") as file:
        file.write(b"\n" + LINES)


def _replaced(own: Path) -> None:
    new, was = own.with_name("new"), own.stat()
    new.write_bytes(OTHER)
    os.utime(new, ns=(was.st_atime_ns, was.st_mtime_ns))
    new.replace(own)


def meanwhile(change: Callable[[Path], None], own: Path) -> Progress:
    """Return what makes the change once, as soon as the first records have been read."""
    waiting = [change]

    def progress(_done: int, _total: int | None) -> None:
        while waiting:
            waiting.pop()(own)

    return progress


@pytest.mark.parametrize("change", [_written_later, _grown, _replaced])
def test_a_file_that_changes_while_it_is_read_is_unreadable(
    change: Callable[[Path], None], own: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputUnreadable, match=r"own\.json: changed while it was read; run again"):
        ingest(parameters(own), own, tmp_path / "out", meanwhile(change, own))
    assert list((tmp_path / "out").glob("*")) == []


def test_a_file_that_goes_away_while_it_is_read_is_unreadable(own: Path, tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable, match=r"own\.json: cannot be read any more \(No such file"):
        ingest(parameters(own), own, tmp_path / "out", meanwhile(Path.unlink, own))


def test_of_what_stage_1_made_no_second_hash_is_taken(own: Path, tmp_path: Path) -> None:
    result = ingest(IngestParameters(reference_time=REFERENCE), own, tmp_path / "out")
    assert "sha256" not in result.details["source"]


def test_a_stage_opened_by_hand_has_the_clock_and_the_input_of_its_run(own: Path) -> None:
    run = {"parameters": RunParameters(input_file=str(own), reference_time=REFERENCE).model_dump()}
    assert as_the_run_has_it(IngestParameters(max_reject_rate=0.5), run) == IngestParameters(
        max_reject_rate=0.5, input_file=str(own), reference_time=REFERENCE
    )
    assert as_the_run_has_it(GenerateParameters(), run) == GenerateParameters(reference_time=REFERENCE)
