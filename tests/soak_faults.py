"""The faults that a soak injects: each into a real run, at a random moment."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psutil
from sqlalchemy import text

from pipeline_lib.parameters import StageName
from pipeline_lib.services.state import read_live_state, service_folder
from pipeline_lib.tracking.failpoints import FAILPOINTS, VARIABLE
from pipeline_lib.tracking.lease import request_cancel
from tests.faults.bench import StartedRun

_LATEST_SECONDS = 12.0
_IN_A_STAGE = ("stage_started", "cell_started", "notebook_executed", "manifest_verified", "stage_completed")


def _nothing(_run: StartedRun, _chance: random.Random) -> None:
    """Let the run be."""


def _no_environment(_chance: random.Random) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Fault:
    """What is done to a run: options and environment it starts with, and what happens to it while it works."""

    name: str
    options: tuple[str, ...] = ()
    environment: Callable[[random.Random], dict[str, str]] = _no_environment
    inject: Callable[[StartedRun, random.Random], None] = _nothing


def _failpoint(chance: random.Random) -> dict[str, str]:
    name = chance.choice(FAILPOINTS)
    place = f"{name}/{chance.choice(list(StageName))}" if name in _IN_A_STAGE else name
    return {VARIABLE: f"{place}:SIGKILL"}


def _wait(run: StartedRun, chance: random.Random) -> None:
    """Wait until the run is recorded, then a random time, at most while it lives."""
    assert run.pipeline_id
    deadline = time.monotonic() + chance.uniform(0, _LATEST_SECONDS)
    while run.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def _signalled(number: signal.Signals, times: int, run: StartedRun, chance: random.Random) -> None:
    _wait(run, chance)
    for _ in range(times):
        if run.process.poll() is None:
            run.signal(number)
            time.sleep(0.3)


def _kernel_killed(run: StartedRun, chance: random.Random) -> None:
    _wait(run, chance)
    below = psutil.Process(run.process.pid).children(recursive=True) if run.process.poll() is None else []
    for process in below[-1:]:
        process.kill()


def _nursery_killed(run: StartedRun, chance: random.Random) -> None:
    _wait(run, chance)
    for process in run.processes():
        with suppress(psutil.NoSuchProcess):
            if "nursery.py" in " ".join(process.cmdline()) and process.ppid() == run.process.pid:
                process.kill()


def _spark_killed(run: StartedRun, chance: random.Random) -> None:
    """Kill the Spark server of all runs; whoever needs it next has it started again."""
    _wait(run, chance)
    state = read_live_state(service_folder(run.bench.settings.home, "spark"))
    if state is not None and state.service is not None:
        os.kill(state.service, signal.SIGKILL)


def _cancelled(run: StartedRun, chance: random.Random) -> None:
    _wait(run, chance)
    request_cancel(run.bench.engine, run.pipeline_id)


def _sessions_ended(run: StartedRun, chance: random.Random) -> None:
    """End every session of the database but our own: what a restart of it looks like."""
    _wait(run, chance)
    others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> {}"
    with run.bench.engine.connect() as connection:
        connection.execute(text(others.format("pg_backend_pid()")))


def _always(**environment: str) -> Callable[[random.Random], dict[str, str]]:
    return lambda _chance: environment


FAULTS = (
    Fault("nothing"),
    Fault("killed at a failpoint", environment=_failpoint),
    Fault("killed", inject=partial(_signalled, signal.SIGKILL, 1)),
    Fault("told to end", inject=partial(_signalled, signal.SIGTERM, 1)),
    Fault("told to end twice", inject=partial(_signalled, signal.SIGINT, 2)),
    Fault("kernel killed", inject=_kernel_killed),
    Fault("nursery killed", inject=_nursery_killed),
    Fault("Spark server killed", inject=_spark_killed),
    Fault("cancelled", inject=_cancelled),
    Fault("database sessions ended", inject=_sessions_ended),
    Fault("broker away", environment=_always(AMQP_URL="amqp://guest:guest@127.0.0.1:1/%2F")),
    Fault("Prefect away", environment=_always(PREFECT_API_URL="http://127.0.0.1:1/api")),
    Fault("input too defective", options=("--defect-rate", "0.5")),
    Fault("out of time", options=("--set", "stage_timeout=2")),
)
