"""Tiny notebooks on real kernels: what the outcome says, the saved notebook says, and it is what happened."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Timer

import nbformat
import psutil
import pytest

from pipeline_lib.execution.notebook import ExecutionOptions, execute_notebook
from pipeline_lib.execution.outcome import CellStatus, NotebookError, SilentObserver

NOTEBOOKS = Path(__file__).parent.parent / "notebooks_for_tests"


@dataclass
class Recorder(SilentObserver):
    """Keeps what it is told."""

    events: list[tuple[object, ...]] = field(default_factory=list)

    def cell_started(self, number: int, total: int, source_head: str) -> None:
        self.events.append(("started", number, total, source_head))

    def cell_progress(self, number: int, records: int, total: int | None) -> None:
        self.events.append(("progress", number, records, total))

    def cell_output(self, number: int, text: str) -> None:
        self.events.append(("output", number, text))

    def cell_completed(self, number: int, seconds: float) -> None:
        self.events.append(("completed", number))

    def cell_failed(self, number: int, error: NotebookError) -> None:
        self.events.append(("failed", number, error.status))


def saved(target: Path) -> tuple[str, dict[int, str]]:
    """Return the notebook's status, and the status of each code cell by number, as they stand in the file."""
    notebook = nbformat.read(target, as_version=4)
    cells = {n: c.metadata.workbench.status for n, c in enumerate(notebook.cells, 1) if c.cell_type == "code"}
    return notebook.metadata.workbench.status, cells


def run_code(code: str, target: Path, **options: object):
    """Execute one cell of this code, followed by one that prints 'after'."""
    return execute_notebook(NOTEBOOKS / "runs_code.ipynb", target, {"code": code}, ExecutionOptions(**options))


def kernels_of_this_process() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "kernel_process" in " ".join(child.cmdline())]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "executed {with} braces.ipynb"


def test_a_good_notebook_completes_and_says_what_each_cell_did(target):
    observer = Recorder()
    outcome = execute_notebook(NOTEBOOKS / "works.ipynb", target, {"times": 2}, ExecutionOptions(observer=observer))
    assert outcome.completed
    assert outcome.error is None
    assert outcome.kernel.code == 0
    expected = {2: "completed", 3: "completed", 4: "completed", 5: "skipped", 6: "completed"}
    assert saved(target) == ("completed", expected)
    assert {cell.number: cell.status for cell in outcome.cells} == expected
    assert ("started", 4, 7, "print('hello' * times)") in observer.events
    assert ("output", 4, "hellohello\n") in observer.events
    assert observer.events[-1] == ("completed", 6)


def test_progress_is_told_and_leaves_no_clutter(target):
    observer = Recorder()
    execute_notebook(NOTEBOOKS / "progresses.ipynb", target, {}, ExecutionOptions(observer=observer))
    assert [event[2:] for event in observer.events if event[0] == "progress"] == [(1, 3), (2, 3), (3, 3)]
    outputs = nbformat.read(target, as_version=4).cells[-1].outputs
    assert [output.output_type for output in outputs] == ["stream"]


def test_a_raising_cell_fails_and_the_next_is_not_run(target):
    outcome = execute_notebook(NOTEBOOKS / "raises.ipynb", target, {})
    assert outcome.status == "failed"
    assert (outcome.error.number, outcome.error.exception) == (4, "ValueError")
    assert outcome.error.source == "raise ValueError('seven is not allowed')"
    assert "seven is not allowed" in outcome.error.traceback
    assert "\x1b" not in outcome.error.traceback
    assert saved(target) == ("failed", {2: "completed", 3: "completed", 4: "failed", 5: "not_run"})


@pytest.mark.parametrize(
    ("code", "status", "exception"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed", "KernelDied"),
        ("import os; os._exit(0)", "killed", "KernelDied"),
        ("import ctypes; ctypes.string_at(0)", "killed", "KernelDied"),
        ("import sys; sys.exit(0)", "failed", "SystemExit"),
        ("exit()", "failed", "KernelLeft"),
    ],
)
def test_no_way_out_of_a_cell_counts_as_success(code, status, exception, target):
    observer = Recorder()
    outcome = run_code(code, target, observer=observer)
    assert (outcome.status, outcome.error.number, outcome.error.exception) == (status, 4, exception)
    assert saved(target) == (status, {2: "completed", 3: "completed", 4: status, 5: "not_run"})
    assert observer.events[-1] == ("failed", 4, status)
    papermill = [cell.metadata.papermill.status for cell in nbformat.read(target, as_version=4).cells[1:]]
    assert papermill == ["completed", "completed", "failed", "pending"]
    assert not kernels_of_this_process()


def test_the_error_of_a_killed_kernel_has_signal_and_peak_memory(target):
    code = "import os, signal; block = bytearray(200_000_000); os.kill(os.getpid(), signal.SIGKILL)"
    error = run_code(code, target).error
    assert error.kernel.signal == "SIGKILL"
    assert error.kernel.peak_bytes > 200_000_000


def test_a_crash_shows_where_python_was(target):
    error = run_code("import ctypes\ndef dive():\n    ctypes.string_at(0)\ndive()", target).error
    assert error.kernel.signal == "SIGSEGV"
    assert "in dive" in error.traceback


def test_a_kernel_that_dies_while_shutting_down_has_not_ended_well(target):
    outcome = run_code("import atexit, os; atexit.register(os._exit, 3)", target)
    assert outcome.status == "killed"
    assert "exit code 3" in outcome.error.value
    assert set(saved(target)[1].values()) == {"completed"}


def test_the_deadline_interrupts_a_hanging_cell(target):
    outcome = run_code("import time\nprint('so far', flush=True)\ntime.sleep(600)", target, deadline_seconds=4)
    assert outcome.status == "timed_out"
    assert "KeyboardInterrupt" in outcome.error.traceback
    assert saved(target) == ("timed_out", {2: "completed", 3: "completed", 4: "timed_out", 5: "not_run"})
    assert nbformat.read(target, as_version=4).cells[3].outputs[0].text == "so far\n"


def test_the_deadline_ends_a_stopped_kernel(target):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    began = time.monotonic()
    outcome = run_code(code, target, deadline_seconds=4, grace_seconds=1)
    assert outcome.status == "timed_out"
    assert time.monotonic() - began < 15
    assert not kernels_of_this_process()


def test_the_deadline_ends_a_flood_of_output_which_is_capped_and_says_so(target):
    outcome = run_code("while True: print('x' * 1000)", target, deadline_seconds=5, output_cap=50_000)
    assert outcome.status == "timed_out"
    outputs = nbformat.read(target, as_version=4).cells[3].outputs
    assert len(outputs[0].text) == 50_000
    assert any("more characters not kept" in output.get("text", "") for output in outputs)


def test_cancel_interrupts_the_cell_and_ends_cleanly(target):
    cancel = Event()
    Timer(3, cancel.set).start()
    outcome = run_code("import time; time.sleep(600)", target, cancel=cancel)
    assert outcome.status == "cancelled"
    assert "KeyboardInterrupt" in outcome.error.traceback
    assert saved(target)[1][4] == "cancelled"


def test_kill_does_not_wait_for_a_cell_that_ignores_the_interrupt(target):
    cancel, kill = Event(), Event()
    code = "import time\nwhile True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n        pass"
    Timer(3, cancel.set).start()
    Timer(4, kill.set).start()
    outcome = run_code(code, target, cancel=cancel, kill=kill, grace_seconds=600)
    assert outcome.status == "cancelled"
    assert outcome.kernel.signal == "SIGKILL"


def test_a_cancel_before_the_start_runs_nothing(target):
    cancel = Event()
    cancel.set()
    outcome = run_code("print('never')", target, cancel=cancel)
    assert (outcome.status, outcome.kernel_starts) == ("cancelled", 0)
    assert set(saved(target)[1].values()) == {"not_run"}


def test_children_of_the_kernel_end_with_it(target, tmp_path):
    pids = tmp_path / "pid"
    code = f"import subprocess, pathlib; p = subprocess.Popen(['sleep', '600']); pathlib.Path({str(pids)!r}).write_text(str(p.pid))"
    run_code(code, target)
    child = int(pids.read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_target_that_cannot_be_written_is_a_failure_before_any_kernel(tmp_path):
    (tmp_path / "file").write_text("in the way")
    outcome = run_code("print('never')", tmp_path / "file" / "notebook.ipynb")
    assert (outcome.status, outcome.kernel_starts) == ("failed", 0)
    assert outcome.error.exception in {"NotADirectoryError", "FileExistsError"}


def test_a_target_that_vanishes_while_running_is_a_failure(tmp_path):
    folder = tmp_path / "gone"
    code = (
        f"import shutil, pathlib; shutil.rmtree({str(folder)!r}); pathlib.Path({str(folder)!r}).write_text('no folder')"
    )
    outcome = run_code(code, folder / "notebook.ipynb")
    assert outcome.status == "failed"
    assert "cannot be saved" in outcome.error.value


def test_what_the_observer_raises_ends_the_notebook_and_the_kernel(target):
    class LostInterest(Exception):
        pass

    class Observer(SilentObserver):
        def cell_completed(self, number: int, seconds: float) -> None:
            raise LostInterest

    with pytest.raises(LostInterest):
        run_code("print('hello')", target, observer=Observer())
    assert saved(target)[0] == CellStatus.CANCELLED
    assert not kernels_of_this_process()


def test_secrets_reach_the_kernel_by_environment_and_stay_out_of_the_notebook(target):
    code = "import os; assert len(os.environ['DATABASE_URL']) == 12; print('IPYTHONDIR' in os.environ)"
    outcome = run_code(code, target, environment={"DATABASE_URL": "canary-7f3a9"})
    assert outcome.status == "failed"  # 12 is wrong on purpose: the traceback must not show the value either
    assert "canary-7f3a9" not in target.read_text()


def test_a_kernel_needs_no_home_and_leaves_no_files(target, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = run_code("print('hello')", target, environment={"HOME": str(home)})
    assert outcome.completed
    assert list(home.iterdir()) == []
    assert not list(tmp_path.glob("wb-kernel-*"))


def test_kernels_listen_on_no_port(target, tmp_path):
    answer = tmp_path / "listening.json"
    code = (
        "import json, os, pathlib, psutil\n"
        "kinds = [c.status for c in psutil.Process(os.getpid()).net_connections('inet')]\n"
        f"pathlib.Path({str(answer)!r}).write_text(json.dumps(kinds))"
    )
    assert run_code(code, target).completed
    assert "LISTEN" not in json.loads(answer.read_text())


def test_output_of_forked_children_is_kept(target):
    code = "import os\npid = os.fork()\nif pid == 0:\n    print('from the child', flush=True)\n    os._exit(0)\nos.waitpid(pid, 0)"
    run_code(code + "\nimport time; time.sleep(0.5)", target)
    assert "from the child" in str(nbformat.read(target, as_version=4).cells[3].outputs)


def test_a_notebook_works_beside_its_own_file(target, tmp_path):
    answer = tmp_path / "folder"
    code = f"import os, pathlib; pathlib.Path({str(answer)!r}).write_text(os.getcwd())"
    assert run_code(code, target).completed
    assert answer.read_text() == os.fspath(NOTEBOOKS.resolve())


@pytest.mark.anyio
async def test_execution_works_inside_a_running_event_loop(target):
    assert run_code("print('hello')", target).completed
