"""P7: success needs a kernel that ended well and a manifest that verifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.faulty_notebooks import cells_around_fault, with_cell, with_last_cell
from tests.faults.workshop import Workshop, statuses
from workbench.stage.run_parameters import RunParameters

pytestmark = pytest.mark.promise("P7", "success needs a kernel that ended well and a manifest that verifies")
FEW = RunParameters(records=50)
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("code", "status", "exception", "kernel_signal"),
    [
        ("import sys; sys.exit(0)", "failed", "SystemExit", None),
        ("exit()", "failed", "KernelLeft", None),
        ("import os; os._exit(0)", "killed", "KernelDied", None),
        (KILL, "killed", "KernelDied", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "killed", "KernelDied", "SIGSEGV"),
    ],
)
def test_no_way_out_of_a_cell_completes_its_stage(
    workshop: Workshop, tmp_path: Path, code: str, status: str, exception: str, kernel_signal: str | None
) -> None:
    run = workshop.work(FEW, with_cell(tmp_path, "generate", code))
    before, number, here, after = cells_around_fault(run.notebook("generate"))
    assert (before, here, after) == ({"completed"}, status, {"not_run"})
    error = run.row["error"]
    assert (run.row["status"], error["stage"], error["cell"]) == ("failed", "generate", number)
    assert (error["source"], error["exception"], error["status"]) == (code, exception, status)
    assert error["kernel"]["signal"] == kernel_signal
    run.check()


def test_a_kernel_killed_for_its_memory_tells_signal_and_peak(workshop: Workshop, tmp_path: Path) -> None:
    hungry = f"block = b'x' * 300_000_000; {KILL}"
    run = workshop.work(FEW, with_cell(tmp_path, "generate", hungry))
    kernel = run.row["error"]["kernel"]
    assert kernel["signal"] == "SIGKILL"
    assert kernel["peak_bytes"] > 300_000_000
    assert f"peak memory {kernel['peak_bytes'] / 2**20:,.0f} MiB" in run.row["error"]["message"]
    run.check()


def test_a_kernel_that_ends_badly_after_its_last_cell_completes_nothing(workshop: Workshop, tmp_path: Path) -> None:
    code = "import atexit, os; atexit.register(os._exit, 3)"
    run = workshop.work(FEW, with_cell(tmp_path, "generate", code))
    assert (run.row["status"], run.stage("generate")["status"]) == ("failed", "failed")
    assert "exit code 3" in run.row["error"]["message"]
    run.check()


def test_a_notebook_that_leaves_no_manifest_completes_nothing(workshop: Workshop, tmp_path: Path) -> None:
    run = workshop.work(FEW, with_last_cell(tmp_path, "generate", "'nothing is finished'"))
    assert (run.row["status"], run.row["error"]["name"]) == ("failed", "ManifestBroken")
    assert set(statuses(run.notebook("generate"))) <= {"completed", "skipped"}
    run.check()


@pytest.mark.parametrize(
    "damage",
    [
        "with artefact.open('ab') as file: file.write(b' ')",
        "artefact.unlink()",
        "artefact.write_bytes(artefact.read_bytes().swapcase())",
    ],
)
def test_an_artefact_that_is_not_what_its_manifest_says_completes_nothing(
    workshop: Workshop, tmp_path: Path, damage: str
) -> None:
    finish = f"manifest = stage.finish(result)\nartefact = stage.folder / 'records.jsonl'\n{damage}"
    run = workshop.work(FEW, with_last_cell(tmp_path, "generate", finish))
    assert (run.row["status"], run.row["error"]["name"]) == ("failed", "ManifestBroken")
    assert "records.jsonl" in run.row["error"]["message"]
    run.check()
