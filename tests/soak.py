"""The soak: many runs, one random fault in each, and what must be true of all of them in the end.

    python -m tests.soak --runs 30 --records 1000 --seed 1        (make soak)

Each run ends in a terminal state that tables, events, notebooks, reports and Prefect agree on; no process, schema or
folder is left without its run; the events of every run are numbered 1..n; the outbox drains to zero. What does a run no
harm leaves it completed. It wants the RabbitMQ that `make services` starts, and libfaketime, which moves the clock of a
PostgreSQL of the soak's own.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

import pika

from tests.conftest import OWN_BROKER, fresh_database
from tests.faults.bench import StartedRun, until
from tests.faults.clock import database_with_own_clock
from tests.faults.invariants import leftovers, stored_problems
from tests.faults.looking import row_of
from tests.faults.stories import prefect_problems
from tests.soak_faults import FAULTS, RUN_SECONDS, Fault, SoakBench
from workbench.base.settings import Settings
from workbench.prefect.api import contacted
from workbench.prefect.reconciliation import mirror
from workbench.run.crash_recovery import look_after
from workbench.run.publisher import publish_due
from workbench.run.retention import find_orphans
from workbench.services import prefect, spark
from workbench.state import database, queries, relay
from workbench.state.states import TERMINAL

_LEASE_SECONDS = 4
_PREFECT_SECONDS = 60.0


@contextmanager
def soaking() -> Iterator[SoakBench]:
    """A bench on a database and in a home of its own, with broker, Prefect and Spark up for all runs."""
    home = Path(tempfile.mkdtemp(prefix="wb-soak-"))
    temporary = home / "tmp"
    temporary.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        clock = stack.enter_context(database_with_own_clock())
        url = stack.enter_context(fresh_database(clock.url))
        own = Settings(_env_file=None, workbench_home=home)
        stack.enter_context(spark.held(own))  # found by its home, and started again there when it has died
        settings = Settings(
            _env_file=None,
            database_url=url,
            amqp_url=OWN_BROKER,
            prefect_api_url=stack.enter_context(prefect.held(own)),
            workbench_home=home,
            workbench_lease_seconds=_LEASE_SECONDS,
        )
        engine = database.connect(url)
        stack.callback(engine.dispose)
        bench = SoakBench(engine, settings, temporary, clock=clock)
        stack.callback(bench.kill_all)
        yield bench


def soak(bench: SoakBench, runs: int, records: int, chance: random.Random) -> list[str]:
    """Work all runs, one after the other; returns every problem found."""
    problems: list[str] = []
    ends: Counter[str] = Counter()
    for number, fault in enumerate(islice(_each_in_turn(chance), runs), 1):
        began = time.monotonic()
        run = one_run(bench, fault, records, chance)
        found = [*stored_problems(bench, run.pipeline_id), *leftovers(run)]
        status = str(run.row["status"])
        ends[status] += 1
        if fault.is_harmless and status != "completed":
            found.append(f"is {status}: {run.row['error']}")
        problems += [f"run {number}, {fault.name}: {problem}" for problem in found]
        print(f"{number:3} {status:10} {time.monotonic() - began:5.1f} s  {fault.name}  {found or ''}", flush=True)
    print(dict(ends))
    return problems


def _each_in_turn(chance: random.Random) -> Iterator[Fault]:
    """Yield no fault, then all faults in any order, again and again."""
    yield FAULTS[0]
    while True:
        yield from chance.sample(FAULTS, len(FAULTS))


def one_run(bench: SoakBench, fault: Fault, records: int, chance: random.Random) -> StartedRun:
    """Start a run, inject its fault, and return when it has reached a terminal state."""
    options = ("--records", str(records), "--seed", str(chance.randrange(1000)), *fault.options)
    run = bench.start("run", *options, **fault.environment(chance))
    fault.inject(run, chance)
    if run.process.poll() is None:
        try:
            run.wait(RUN_SECONDS)
        except AssertionError:
            run.signal(signal.SIGKILL)
            run.wait()
    until(lambda: look_after(bench.engine, bench.settings) or run.row["status"] in TERMINAL, "a terminal state")
    publish_due(bench.engine)  # as the next command does
    return run


def problems_in_the_end(bench: SoakBench) -> Iterator[str]:
    """Yield what is left over of all runs together."""
    orphans = find_orphans(bench.engine, bench.settings, quiet_seconds=0)
    yield from (f"orphan schema {schema}" for schema in orphans.schemas)
    yield from (f"orphan schema {name}" for name in orphans.unproven if name.startswith("run_"))
    yield from (f"orphan folder {folder}" for folder in orphans.folders)
    yield from _differences_from_prefect(bench)
    waiting = queries.waiting_events(bench.engine)
    with relay.relaying(bench.engine, pika.URLParameters(OWN_BROKER)):
        until(lambda: queries.waiting_events(bench.engine) == 0, "the outbox drains")
    print(f"outbox: {waiting} events waited, {queries.waiting_events(bench.engine)} wait now")


def _differences_from_prefect(bench: SoakBench) -> list[str]:
    """Return where Prefect tells another end than the table, once it has had time to hear of all."""
    found: list[str] = []

    def agree() -> bool:
        with contacted(bench.settings) as client:
            mirror(bench.engine, client)
        rows = [row_of(bench.engine, pipeline_id) for pipeline_id in bench.run_ids()]
        found[:] = [f"run {row['id']}: {problem}" for row in rows for problem in prefect_problems(bench, row)]
        return not found

    with suppress(AssertionError):
        until(agree, "Prefect agrees", _PREFECT_SECONDS)
    return found


def main() -> int:
    """Soak, tell, and return 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    asked = parser.parse_args()
    print(f"soak of {asked.runs} runs of {asked.records} records, seed {asked.seed}", flush=True)
    began = time.monotonic()
    with soaking() as bench:
        problems = soak(bench, asked.runs, asked.records, random.Random(asked.seed))
        problems += problems_in_the_end(bench)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    print("\n".join(problems) or "no problem found")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
