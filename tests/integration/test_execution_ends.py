"""However a notebook ends, the outcome and the saved notebook say what happened."""

from __future__ import annotations

import time
from threading import Event

import nbformat
import pytest

from tests.integration.executing import (
    NOTEBOOKS,
    Recorder,
    SetsEvents,
    kernels_of_this_process,
    lives,
    saved,
)
from workbench.kernels.kernel_provisioner import PlainKernels
from workbench.notebook.execute import execute_notebook
from workbench.notebook.results import CellStatus, SilentObserver


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
        ("import os; os._exit(0)", "killed", "KernelDied"),
        ("exit()", "failed", "KernelLeft"),
    ],
)
def test_no_way_out_of_a_cell_of_a_plain_kernel_counts_as_success(run_code, code, status, exception, target):
    """Two ways for a kernel that is no fork of ours; P7's test tries all five on the kernels of runs."""
    observer = Recorder()
    outcome = run_code(code, target, observer=observer, kernels=PlainKernels())
    assert (outcome.status, outcome.error.number, outcome.error.exception) == (status, 4, exception)
    assert saved(target) == (status, {2: "completed", 3: "completed", 4: status, 5: "not_run"})
    assert observer.events[-1] == ("failed", 4, status)
    papermill = [cell.metadata.papermill.status for cell in nbformat.read(target, as_version=4).cells[1:]]
    assert papermill == ["completed", "completed", "failed", "pending"]
    assert not kernels_of_this_process()


def test_the_error_of_a_killed_kernel_has_signal_and_peak_memory(run_code, target):
    # A plain kernel's memory is only looked at 20 times a second, so it is held for a while.
    code = "import os, signal, time; block = b'x' * 200_000_000; time.sleep(3); os.kill(os.getpid(), signal.SIGKILL)"
    error = run_code(code, target, kernels=PlainKernels()).error
    assert error.kernel.signal == "SIGKILL"
    assert error.kernel.peak_bytes > 200_000_000


def test_a_crash_shows_where_python_was(run_code, target):
    error = run_code("import ctypes\ndef dive():\n    ctypes.string_at(0)\ndive()", target).error
    assert error.kernel.signal == "SIGSEGV"
    assert "in dive" in error.traceback


def test_a_kernel_that_dies_while_shutting_down_has_not_ended_well(run_code, target):
    outcome = run_code("import atexit, os; atexit.register(os._exit, 3)", target)
    assert outcome.status == "killed"
    assert "exit code 3" in outcome.error.value
    assert set(saved(target)[1].values()) == {"completed"}


def test_what_a_notebook_has_registered_for_its_kernels_exit_is_done(run_code, target, tmp_path):
    left = tmp_path / "left"
    outcome = run_code(
        f"import atexit, pathlib; atexit.register(pathlib.Path({str(left)!r}).write_text, 'bye')", target
    )
    assert outcome.completed
    assert left.read_text() == "bye"


def test_the_deadline_interrupts_a_hanging_cell(run_code, target):
    outcome = run_code("import time\nprint('so far', flush=True)\ntime.sleep(600)", target, deadline_seconds=6)
    assert outcome.status == "timed_out"
    assert "KeyboardInterrupt" in outcome.error.traceback
    assert saved(target) == ("timed_out", {2: "completed", 3: "completed", 4: "timed_out", 5: "not_run"})
    assert nbformat.read(target, as_version=4).cells[3].outputs[0].text == "so far\n"


def test_the_deadline_ends_a_stopped_kernel(run_code, target):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    began = time.monotonic()
    outcome = run_code(code, target, deadline_seconds=6, grace_seconds=1)
    assert outcome.status == "timed_out"
    assert time.monotonic() - began < 15
    assert not kernels_of_this_process()


def test_the_deadline_ends_a_flood_of_output_which_is_capped_and_says_so(run_code, target):
    outcome = run_code("while True: print('x' * 1000)", target, deadline_seconds=5, output_cap=50_000)
    assert outcome.status == "timed_out"
    outputs = nbformat.read(target, as_version=4).cells[3].outputs
    assert len(outputs[0].text) == 50_000
    assert any("more characters not kept" in output.get("text", "") for output in outputs)


def test_cancel_interrupts_the_cell_and_ends_cleanly(run_code, target):
    events = {"cancel": Event()}
    code = "import time\nprint('cancel', flush=True)\ntime.sleep(600)"
    outcome = run_code(code, target, observer=SetsEvents(events), **events)
    assert outcome.status == "cancelled"
    assert "KeyboardInterrupt" in outcome.error.traceback
    assert saved(target)[1][4] == "cancelled"


def test_kill_does_not_wait_for_a_cell_that_ignores_the_interrupt(run_code, target):
    events = {"cancel": Event(), "kill": Event()}
    code = """
import time
word = 'cancel'
while True:
    print(word, flush=True)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        word = 'kill'
"""
    outcome = run_code(code, target, observer=SetsEvents(events), grace_seconds=600, **events)
    assert outcome.status == "cancelled"
    assert outcome.kernel.signal == "SIGKILL"


def test_a_cancel_before_the_start_runs_nothing(run_code, target):
    cancel = Event()
    cancel.set()
    outcome = run_code("print('never')", target, cancel=cancel)
    assert (outcome.status, outcome.kernel_starts) == ("cancelled", 0)
    assert set(saved(target)[1].values()) == {"not_run"}


def test_a_kernel_that_dies_between_two_cells_leaves_the_finished_cell_completed(run_code, target):
    code = "import os, threading; threading.Timer(0.3, os._exit, (5,)).start()"
    notebook = nbformat.read(NOTEBOOKS / "runs_code.ipynb", as_version=4)
    notebook.cells[-1].source = "import time; time.sleep(600)"
    source = target.with_name("source.ipynb")
    nbformat.write(notebook, source)
    outcome = execute_notebook(source, target, {"code": code})
    assert outcome.error.kernel.code == 5
    assert saved(target) == ("killed", {2: "completed", 3: "completed", 4: "completed", 5: "killed"})


@pytest.mark.parametrize("command", [["sleep", "600"], ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]])
def test_children_of_the_kernel_end_with_it(run_code, target, tmp_path, command):
    pid = tmp_path / "pid"
    child = f"import pathlib, subprocess\nchild = subprocess.Popen({command!r})"
    run_code(f"{child}\npathlib.Path({str(pid)!r}).write_text(str(child.pid))", target)
    assert not lives(int(pid.read_text()))


def test_what_the_observer_raises_ends_the_notebook_and_the_kernel(run_code, target):
    class LostInterest(Exception):
        pass

    class Observer(SilentObserver):
        def cell_completed(self, number: int, seconds: float) -> None:
            raise LostInterest

    with pytest.raises(LostInterest):
        run_code("print('hello')", target, observer=Observer())
    assert saved(target)[0] == CellStatus.CANCELLED
    assert not kernels_of_this_process()
