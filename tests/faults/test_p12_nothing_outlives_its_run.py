"""P12: nothing outlives its run: process, temporary folder, schema."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.faults.bench import Bench, until
from tests.faults.faulty_notebooks import with_cell
from tests.faults.invariants import SECONDS_AFTER
from tests.faults.workshop import Workshop, changed
from workbench.stage.run_parameters import RunParameters

pytestmark = pytest.mark.promise("P12", "nothing outlives its run: process, temporary folder, schema")
DAEMONS = """
import subprocess
detached = subprocess.Popen(["sleep", "611"], start_new_session=True)
forked_twice = subprocess.run("setsid sh -c 'sleep 612 & sleep 612' >/dev/null 2>&1 &", shell=True, check=True)
without_environment = subprocess.Popen(["env", "-i", "setsid", "sleep", "613"])
"""
KILL_THE_RUN = """
import os, psutil, time
os.kill(psutil.Process().parent().ppid(), 9)  # a kernel's parent is the fork server, whose parent is the run
time.sleep(600)
"""
ALONE = {"DATABASE_URL": "", "PREFECT_API_URL": ""}


def sleepers() -> list[psutil.Process]:
    """Return the processes that DAEMONS has started."""
    commands = [["sleep", str(seconds)] for seconds in (611, 612, 613)]
    return [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] in commands]


@pytest.fixture(autouse=True)
def no_sleepers_left() -> Iterator[None]:
    yield
    for process in sleepers():
        process.kill()


def test_daemons_that_a_cell_has_started_end_with_its_kernel(workshop: Workshop, tmp_path: Path) -> None:
    seen = "assert sum('sleep' in p.name() for p in psutil.process_iter()) >= 4\nraise RuntimeError('enough')"
    code = f"{DAEMONS}\nimport psutil, time\ntime.sleep(0.5)\n{seen}"
    run = workshop.work(RunParameters(records=10), with_cell(tmp_path, "generate", code))
    assert run.row["error"]["value"] == "enough"
    until(lambda: not sleepers(), "the daemons end", SECONDS_AFTER)
    run.check()


def processes_of(home: Path) -> list[str]:
    """Return the processes that work for this home: supervisors, servers, whatever."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home) in " ".join([process.cwd(), *process.cmdline()]) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:100]}")
        except psutil.Error:
            continue
    return found


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home outside pytest's folder: the embedded PostgreSQL may run as another user."""
    with tempfile.TemporaryDirectory(prefix="wb-alone-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_a_killed_run_that_had_everything_to_itself_leaves_no_server_behind(
    bench: Bench, own_home: Path, tmp_path: Path
) -> None:
    notebooks = with_cell(tmp_path, "generate", KILL_THE_RUN)
    alone = replace(bench, settings=changed(bench.settings, workbench_home=own_home))
    run = alone.run(WORKBENCH_NOTEBOOKS=str(notebooks), **ALONE)
    until(lambda: len(processes_of(own_home)) >= 4, "the run's own servers start")
    assert run.wait() == -signal.SIGKILL, run.said()
    left = until(lambda: not processes_of(own_home), "the run's own servers end", SECONDS_AFTER)
    assert left
    assert not list(own_home.glob("services/*/state.json"))
    until(lambda: not list(bench.temporary.iterdir()), "its kernel's folder goes", SECONDS_AFTER)

    def is_found_crashed() -> bool:
        """Each command starts the database anew, which must not be taken for a restart that owners wait for."""
        command = alone.start("runs", "--json", **ALONE)
        return command.wait() == 0 and '"crashed"' in command.said()

    until(is_found_crashed, "the next command finds the run crashed", 30)
