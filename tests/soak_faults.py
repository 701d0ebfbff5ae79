"""The faults that a soak injects: each into a real run, at a random moment."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import psutil
from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.clock import DatabaseClock
from tests.faults.publishing import reading
from tests.integration.service_watch import supervisors_below
from workbench.data.publication import MARTS, published_schemas
from workbench.services.service_file import read_live_state, service_folder
from workbench.stage.artefacts import schema_of
from workbench.stage.pipeline import STAGE_NAMES
from workbench.state.failpoints import FAILPOINTS, VARIABLE
from workbench.state.lease import request_cancel

RUN_SECONDS = 120.0
_LATEST_SECONDS = 12.0
_IN_A_STAGE = ("stage_started", "cell_started", "notebook_executed", "manifest_verified", "stage_completed")


@dataclass
class SoakBench(Bench):
    """A bench whose database has a clock that can be set."""

    clock: DatabaseClock = field(kw_only=True)


def _nothing(_run: StartedRun, _chance: random.Random) -> None:
    """Let the run be."""


def _no_environment(_chance: random.Random) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Fault:
    """What is done to a run: options and environment it starts with, and what happens to it while it works.

    A run that it does no harm to is completed.
    """

    name: str
    options: tuple[str, ...] = ()
    environment: Callable[[random.Random], dict[str, str]] = _no_environment
    inject: Callable[[StartedRun, random.Random], None] = _nothing
    is_harmless: bool = False


def _failpoint(chance: random.Random) -> dict[str, str]:
    name = chance.choice(FAILPOINTS)
    place = f"{name}/{chance.choice(STAGE_NAMES)}" if name in _IN_A_STAGE else name
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


def _fork_server_killed(run: StartedRun, chance: random.Random) -> None:
    _wait(run, chance)
    for process in run.processes():
        with suppress(psutil.NoSuchProcess):
            if "kernel_forkserver" in " ".join(process.cmdline()) and process.ppid() == run.process.pid:
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


def _paused(run: StartedRun, chance: random.Random) -> None:
    """Stop run, services and database for longer than the lease, then wake them in any order: a laptop's lid."""
    _wait(run, chance)
    home, lease = run.bench.settings.home, run.bench.settings.workbench_lease_seconds
    ours = [*supervisors_below(home), psutil.Process()]
    found = {*run.processes(), *supervisors_below(home)} | {
        each for own in ours for each in own.children(recursive=True)
    }
    everything = chance.sample(sorted(found, key=lambda process: process.pid), len(found))
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(lease * chance.uniform(1.5, 3))


def _clock_set(direction: int, run: StartedRun, chance: random.Random) -> None:
    """Set the database's clock by seconds up to a day, from where the run before has left it."""
    _wait(run, chance)
    assert isinstance(run.bench, SoakBench)
    clock = run.bench.clock
    clock.set_to(int(clock.file.read_text()) + direction * round(10 ** chance.uniform(0.5, 4.9)))


def _until_it_ends(run: StartedRun) -> None:
    with suppress(AssertionError):  # one that does not end is a finding of the soak's own
        run.wait(RUN_SECONDS)


def _read(run: StartedRun, _chance: random.Random) -> None:
    """Hold a transaction open that has read `analytics`, until the run has ended."""
    with reading(run.bench.engine):
        _until_it_ends(run)


def _vacuumed(run: StartedRun, _chance: random.Random) -> None:
    """Hold an autovacuum's lock on all marts, those of the published run and those of this one, until it has ended."""
    engine, own = run.bench.engine, schema_of(run.pipeline_id)
    there = text("select to_regclass(:name) is not null")

    def made() -> bool:
        with engine.connect() as connection:
            return all(connection.execute(there, {"name": f"{own}.{mart}"}).scalar_one() for mart in MARTS)

    until(lambda: run.process.poll() is not None or made(), "the marts are there")
    with engine.begin() as connection:
        for schema in {*published_schemas(connection), own}:
            for mart in MARTS:
                if connection.execute(there, {"name": f"{schema}.{mart}"}).scalar_one():
                    connection.execute(text(f"lock table {schema}.{mart} in share update exclusive mode"))
        _until_it_ends(run)


def _always(**environment: str) -> Callable[[random.Random], dict[str, str]]:
    return lambda _chance: environment


FAULTS = (
    Fault("nothing", is_harmless=True),  # the first of all, so that readers have something to read
    Fault("killed at a failpoint", environment=_failpoint),
    Fault("killed", inject=partial(_signalled, signal.SIGKILL, 1)),
    Fault("told to end", inject=partial(_signalled, signal.SIGTERM, 1)),
    Fault("told to end twice", inject=partial(_signalled, signal.SIGINT, 2)),
    Fault("kernel killed", inject=_kernel_killed),
    Fault("fork server killed", inject=_fork_server_killed),
    Fault("Spark server killed", inject=_spark_killed),
    Fault("cancelled", inject=_cancelled),
    Fault("database sessions ended", inject=_sessions_ended),
    Fault("broker away", environment=_always(AMQP_URL="amqp://guest:guest@127.0.0.1:1/%2F"), is_harmless=True),
    Fault("Prefect away", environment=_always(PREFECT_API_URL="http://127.0.0.1:1/api"), is_harmless=True),
    Fault("everything paused", inject=_paused, is_harmless=True),
    Fault("database's clock set forward", inject=partial(_clock_set, 1), is_harmless=True),
    Fault("database's clock set back", inject=partial(_clock_set, -1), is_harmless=True),
    Fault("reader in mid-transaction", inject=_read, is_harmless=True),
    Fault("autovacuum of the marts", inject=_vacuumed, is_harmless=True),
    Fault("input too defective", options=("--defect-rate", "0.5")),
    Fault("out of time", options=("--set", "stage_timeout=2")),
)
