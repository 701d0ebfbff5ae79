"""Kernels forked from a fork server: as truthful as others, and ended with their owner."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import pytest

from workbench.kernels.kernel_pool import ForkServerClient, ForkServerFailed, WarmKernels
from workbench.notebook.execute import ExecutionOptions, execute_notebook

NOTEBOOKS = Path(__file__).parent.parent / "notebooks_for_tests"
MODULES = ("workbench.kernels.kernel_app", "numpy.random", "faker")


@pytest.fixture(scope="module")
def fork_server():
    with ForkServerClient.started(MODULES) as fork_server:
        yield fork_server


@pytest.fixture
def kernels(fork_server):
    return WarmKernels(fork_server)


def printed(target: Path) -> str:
    outputs = nbformat.read(target, as_version=4).cells[3].outputs
    return "".join(output.get("text", "") for output in outputs)


def run_code(code: str, target: Path, **options: object):
    return execute_notebook(NOTEBOOKS / "runs_code.ipynb", target, {"code": code}, ExecutionOptions(**options))


def wait_until_gone(pids: list[int]) -> list[int]:
    until = time.monotonic() + 15
    while time.monotonic() < until and (left := [pid for pid in pids if _lives(pid)]):
        time.sleep(0.05)
    return [pid for pid in pids if _lives(pid)] if pids else left


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_forked_kernel_has_the_modules_already(kernels, tmp_path):
    target = tmp_path / "n.ipynb"
    outcome = run_code("import sys; print('faker' in sys.modules, 'pandas' in sys.modules)", target, kernels=kernels)
    assert outcome.completed
    assert printed(target) == "True False\n"


def test_the_first_kernel_does_not_wait_for_what_only_later_ones_have(tmp_path):
    code = "import sys; print('fractions' in sys.modules)"
    with ForkServerClient.started(["json"], later=["fractions", "no_such_module"]) as fork_server:
        for name in ("first.ipynb", "second.ipynb"):
            assert run_code(code, tmp_path / name, kernels=WarmKernels(fork_server)).completed
    assert [printed(tmp_path / name) for name in ("first.ipynb", "second.ipynb")] == ["False\n", "True\n"]


def test_a_forked_kernel_leads_a_session_of_its_own_with_its_own_environment(kernels, tmp_path):
    target = tmp_path / "n.ipynb"
    code = "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid(), os.environ['ONLY_HERE'], os.getcwd())"
    run_code(code, target, kernels=kernels, environment={"ONLY_HERE": "yes"}, folder=tmp_path)
    assert printed(target) == f"True yes {tmp_path}\n"


def test_what_a_forked_kernel_has_registered_for_its_exit_is_done(kernels, tmp_path):
    left = tmp_path / "left"
    code = f"import atexit, pathlib; atexit.register(pathlib.Path({str(left)!r}).write_text, 'bye')"
    assert run_code(code, tmp_path / "n.ipynb", kernels=kernels).completed
    assert left.read_text() == "bye"


def test_two_forked_kernels_draw_different_random_numbers(kernels, tmp_path):
    code = "import random, numpy, faker; print(random.random(), numpy.random.random(), faker.Faker().name())"
    drawn = []
    for name in ("a.ipynb", "b.ipynb"):
        run_code(code, tmp_path / name, kernels=kernels)
        drawn.append(printed(tmp_path / name).split(maxsplit=2))
    assert all(one != other for one, other in zip(*drawn, strict=True))


@pytest.mark.parametrize(
    ("code", "kernel_signal", "kernel_code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", None),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV", None),
        ("import os; os._exit(7)", None, 7),
    ],
)
def test_the_fork_server_tells_how_a_kernel_died(code, kernel_signal, kernel_code, kernels, tmp_path):
    outcome = run_code(code, tmp_path / "n.ipynb", kernels=kernels)
    assert outcome.status == "killed"
    assert (outcome.error.kernel.signal, outcome.error.kernel.code) == (kernel_signal, kernel_code)
    assert outcome.error.kernel.peak_bytes > 0


def test_a_stopped_forked_kernel_ends_at_the_deadline(kernels, tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    outcome = run_code(code, tmp_path / "n.ipynb", kernels=kernels, deadline_seconds=3, grace_seconds=0.5)
    assert outcome.status == "timed_out"
    assert outcome.kernel.signal == "SIGKILL" or outcome.kernel.code == 0


def test_kernels_can_be_forked_side_by_side(kernels, tmp_path):
    def one(number: int) -> str:
        target = tmp_path / f"{number}.ipynb"
        run_code(f"print({number})", target, kernels=kernels)
        return printed(target)

    with ThreadPoolExecutor(max_workers=3) as pool:
        assert list(pool.map(one, range(3))) == ["0\n", "1\n", "2\n"]


def test_a_fork_server_with_threads_refuses_to_fork_and_a_plain_kernel_steps_in(tmp_path, caplog):
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with (
        ForkServerClient.started(["threaded"], environment=environment) as fork_server,
        caplog.at_level(logging.WARNING),
    ):
        with pytest.raises(ForkServerFailed, match="threads"):
            asyncio.run(fork_server.ready())
        outcome = run_code("print('hello')", tmp_path / "n.ipynb", kernels=WarmKernels(fork_server))
    assert outcome.completed
    assert "fork_server.failed" in caplog.text


def test_a_fork_server_whose_owner_ended_before_it_read_its_report_exits_cleanly(capfd):
    with ForkServerClient.started(["json"]) as fork_server:
        assert select.select([fork_server._control], [], [], 60)[0]  # its report is sent, and is not read
    assert fork_server._process.returncode == 0
    assert capfd.readouterr().err == ""


def test_a_dead_fork_server_is_replaced_by_a_plain_kernel(tmp_path, caplog):
    with ForkServerClient.started(["json"]) as fork_server:
        asyncio.run(fork_server.ready())
        os.kill(fork_server.pid, signal.SIGKILL)
        wait_until_gone([fork_server.pid])
        with caplog.at_level(logging.WARNING):
            outcome = run_code("print('hello')", tmp_path / "n.ipynb", kernels=WarmKernels(fork_server))
    assert outcome.completed
    assert "fork_server.failed" in caplog.text


def test_fork_server_kernels_and_their_children_die_with_a_killed_owner(tmp_path):
    owner = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from workbench.notebook.execute import ExecutionOptions, execute_notebook
        from workbench.kernels.kernel_pool import ForkServerClient, WarmKernels
        source, folder = map(Path, sys.argv[1:])
        code = (
            "import json, os, subprocess, time, pathlib\\n"
            "child = subprocess.Popen(['sleep', '600'])\\n"
            f"pathlib.Path({str(folder)!r}, 'pids').write_text(json.dumps([os.getpid(), os.getppid(), child.pid]))\\n"
            "time.sleep(600)"
        )
        with ForkServerClient.started(["workbench.kernels.kernel_app"]) as fork_server:
            options = ExecutionOptions(kernels=WarmKernels(fork_server))
            execute_notebook(source, folder / "n.ipynb", {"code": code}, options)
        """
    )
    command = [sys.executable, "-c", owner, str(NOTEBOOKS / "runs_code.ipynb"), str(tmp_path)]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        until = time.monotonic() + 30
        while not (tmp_path / "pids").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.2)
        process.kill()
    pids = json.loads((tmp_path / "pids").read_text())
    assert wait_until_gone(pids) == []
    assert not list(tmp_path.glob("wb-kernel-*"))
    cells = [cell for cell in nbformat.read(tmp_path / "n.ipynb", as_version=4).cells if cell.cell_type == "code"]
    assert "completed" not in {cell.metadata.workbench.status for cell in cells[2:]}


def test_closing_the_fork_server_leaves_no_process():
    fork_server = ForkServerClient.started(["json"])
    pid = fork_server.pid
    fork_server.close()
    assert wait_until_gone([pid]) == []
