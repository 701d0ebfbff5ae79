"""P6, across runs: `run --reuse` takes over what an earlier run made with equal code, parameters and inputs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_lib.parameters import StageName
from pipeline_lib.settings import PROJECT
from tests.faults.bench import Bench, StartedRun
from tests.faults.resuming import executed, ledger

pytestmark = pytest.mark.promise("P6", "a result is reused only with equal code, parameters, inputs and environment")
OWN_RECORDS = '{"id": 1, "name": "a", "category": "A", "value": 10.0, "quantity": 2}\n'


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A copy of the project whose code a test may change."""
    for name in ("flows", "pipeline_lib", "notebooks", "dbt"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return tmp_path


def reusing(bench: Bench, project: Path, *options: str) -> StartedRun:
    run = bench.run("--reuse", *options, PYTHONPATH=str(project))
    assert run.wait(120) == 0, run.said()
    return run


def reused(run: StartedRun) -> list[str]:
    return [stage for stage, (status, _) in ledger(run).items() if status == "reused"]


def test_a_result_that_does_not_verify_is_not_reused(bench: Bench, project: Path) -> None:
    failing = {"failpoint": "stage_started/process:SIGKILL", "PYTHONPATH": str(project)}
    first = bench.run("--reuse", **failing)
    first.wait(120)
    records = first.folder.stage(StageName.GENERATE) / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-1] + b" ")
    second = bench.run("--reuse", **failing)
    second.wait(120)
    assert executed(second) == ["generate"]  # made anew; the dataset made of equal bytes is whole
    assert "no whole result is left" in str(ledger(second)["generate"][1])


def test_without_the_wish_nothing_is_reused(bench: Bench, project: Path) -> None:
    failing = {"failpoint": "stage_started/ingest:SIGKILL", "PYTHONPATH": str(project)}
    clock = ("--reference-time", "2026-11-01T12:00:00")
    runs = [bench.run(*clock, **failing) for _ in range(2)]
    for run in runs:
        run.wait(120)
    assert [executed(run) for run in runs] == [["generate"], ["generate"]]
