"""Runs as processes of their own, with faults ordered by environment, and a look at what they leave."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, select

from tests.faults.looking import Row, row_of
from workbench.base.settings import PROJECT, Settings
from workbench.jupyter.run_launcher import STARTED_BY
from workbench.stage.artefacts import RunFolder
from workbench.state.failpoints import VARIABLE
from workbench.state.models import Pipeline
from workbench.state.queries import run_of_key

WORKBENCH = Path(sys.executable).with_name("workbench")
MARK = "WORKBENCH_FAULT_TEST"
PATIENCE = 150.0  # for a machine that is busy with other things; nothing waits longer than it must
Limits = Callable[[], None] | None
_SUPERVISOR = "workbench.services.service_supervisor"
_SECRETS = ("database_url", "amqp_url", "spark_remote")


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return the condition's first true value; fails loudly when it does not come true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.05)
    return value


@dataclass
class StartedRun:
    """One `workbench` command as a process; `mark` stands in the environment of all that descends from it.

    `key` is that of the run it is about.
    """

    bench: Bench
    process: subprocess.Popen[bytes]
    mark: str
    key: str
    output: Path

    @property
    def pipeline_id(self) -> str:
        """The id of the run, once it is recorded."""
        return until(lambda: run_of_key(self.bench.engine, self.key), f"a run record\n{self.said()}")

    @property
    def row(self) -> Row:
        """The run as the table has it; looking so reaps nothing."""
        return row_of(self.bench.engine, self.pipeline_id)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.bench.settings.home, self.pipeline_id)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code, minus the signal that ended it."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s\n{self.said()}") from None

    def stopped(self) -> bool:
        """Tell whether the process has been stopped by a signal."""
        return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

    def said(self) -> str:
        return self.output.read_text(errors="replace")[-3000:]

    def processes(self) -> list[psutil.Process]:
        """Return what descends from the run and lives, wherever it has gone."""
        return [process for process in psutil.process_iter() if _has_mark(process, self.mark)]


@dataclass
class Bench:
    """Starts runs against one database. Their temporary files go to `temporary`, which must be empty in the end.

    `options` are those of each run; the tiny pipeline needs none.
    """

    engine: Engine
    settings: Settings
    temporary: Path
    options: tuple[str, ...] = ("--records", "200", "--seed", "7")
    started: list[StartedRun] = field(default_factory=list)

    def run(self, *options: str, **more: Any) -> StartedRun:
        """Start `workbench run` on a few records and return at once.

        `more` are arguments of `start`: `failpoint` is a place and a signal, `limits` is called in the process before
        it begins, the rest are variables.
        """
        return self.start("run", *self.options, *options, **more)

    def start(
        self, *command: str, failpoint: str = "", limits: Limits = None, project: Path = PROJECT, **more: str
    ) -> StartedRun:
        """Start any `workbench` command and return at once; `project` may be a copy that is not installed."""
        mark = secrets.token_hex(8)
        faults = {VARIABLE: failpoint} if failpoint else {}
        marked = {MARK: mark, STARTED_BY: f"cli:{mark}"}
        environment = {**os.environ, **self.environment(), **marked, **faults, **more}
        output = self.temporary.parent / f"{self.temporary.name}-{mark}.log"
        with output.open("wb") as log:
            process = subprocess.Popen(
                [*_program(project), *command],
                env=environment,
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=limits,
            )
        run = StartedRun(self, process, mark, mark, output)
        self.started.append(run)
        return run

    def environment(self) -> dict[str, str]:
        """Return the variables that bring a process to this database and these services."""
        variables = {"TMPDIR": str(self.temporary)}
        for name in type(self.settings).model_fields:
            value = getattr(self.settings, name)
            if value is not None:
                variables[name.upper()] = str(value.get_secret_value() if name in _SECRETS else value)
        return variables

    def run_ids(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.execute(select(Pipeline.id)).scalars())

    def kill_all(self) -> None:
        """Leave nothing of any run behind, whatever became of the test."""
        for run in self.started:
            for process in run.processes():
                process.kill()
            run.process.kill()
            run.process.wait()
            run.output.unlink()


def _program(project: Path) -> list[str | Path]:
    return [WORKBENCH] if project == PROJECT else [sys.executable, "-m", "workbench.command"]


def _has_mark(process: psutil.Process, mark: str) -> bool:
    """Return whether a test's run has started the process; supervisors of services belong to no run."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE or _SUPERVISOR in process.cmdline():
            return False
        return process.environ().get(MARK) == mark
    except psutil.Error:
        return False
