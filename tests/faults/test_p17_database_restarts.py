"""P17: a database that restarts, ten times and without warning, loses nothing that was acknowledged."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, text

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.invariants import check_invariants
from tests.faults.resuming import CLOCK, resumed
from workbench.base.settings import Settings
from workbench.services import embedded, postgres, spark
from workbench.services.service_file import State, read_live_state, service_folder
from workbench.stage.run_parameters import RunParameters
from workbench.state import database, queries, relay
from workbench.state.crash_detection import reap
from workbench.state.events import Event, EventType
from workbench.state.lease import held_lease
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import RunStatus

pytestmark = pytest.mark.promise("P17", "a database that restarts ten times without warning loses nothing acknowledged")
RESTARTS = 10


@pytest.fixture(scope="module")
def own_home() -> Iterator[Path]:
    """A home whose embedded server may be killed: no other test uses it."""
    with tempfile.TemporaryDirectory(prefix="wb-restarts-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def url(own_home: Path) -> Iterator[str]:
    with postgres.held(Settings(_env_file=None, workbench_home=own_home)) as found:
        yield found


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = database.connect(url)
    yield engine
    engine.dispose()


def restart(home: Path) -> None:
    """Have the server shut down immediately, as a crash does, and wait until its supervisor has started it again."""
    before = _state(home)
    assert before is not None
    psutil.Process(before.service).send_signal(signal.SIGQUIT)
    until(lambda: (now := _state(home)) is not None and now.service != before.service, "the server is up again")


def _state(home: Path) -> State | None:
    return read_live_state(service_folder(home, "postgres"))


class Writer(threading.Thread):
    """Records events of a run, one after the other, and keeps count of those that were acknowledged."""

    def __init__(self, run: OwnedRun) -> None:
        super().__init__()
        self.run_owned = run
        self.acknowledged: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            event = Event(EventType.DATASET_INGESTED, {"rows": len(self.acknowledged)}, "ingest")
            self.run_owned.record(event)
            self.acknowledged.append(str(event.id))


def all_write_again(writers: list[Writer]) -> None:
    """Return when each of them has had another event acknowledged."""
    before = [len(each.acknowledged) for each in writers]
    until(lambda: all(len(each.acknowledged) > had for each, had in zip(writers, before, strict=True)), "all write")


def test_ten_restarts_while_four_write_lose_and_double_no_event(own_home: Path, engine: Engine) -> None:
    run = create_run(engine, RunParameters(), Origin("cli"), 60)
    run.start()
    writers = [Writer(run) for _ in range(4)]
    with held_lease(run) as watch:
        for writer in writers:
            writer.start()
        for _ in range(RESTARTS):
            restart(own_home)
            all_write_again(writers)
        for writer in writers:
            writer.ended.set()
            writer.join()
        assert not watch.lease_lost.is_set()
        run.end_badly(RunStatus.FAILED, {"name": "X", "message": "the test is over"})
    events = queries.events_after(engine, run.pipeline_id)
    acknowledged = [each for writer in writers for each in writer.acknowledged]
    assert sorted(str(event.id) for event in events[1:-1]) == sorted(acknowledged)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_a_relay_outlives_ten_restarts_and_delivers_everything(own_home: Path, engine: Engine, broker_url: str) -> None:
    import pika

    from tests.integration.test_relay import listening, received

    run = create_run(engine, RunParameters(), Origin("cli"), 60)
    run.start()
    writer = Writer(run)
    with listening(broker_url) as (channel, queue):
        with relay.relaying(engine, pika.URLParameters(broker_url)):
            writer.start()
            for _ in range(RESTARTS):
                restart(own_home)
            writer.ended.set()
            writer.join()
            until(lambda: queries.waiting_events(engine) == 0, "the outbox drains")
        came = [body for _, body in received(channel, queue) if body["pipelineid"] == run.pipeline_id]
    ours = dict.fromkeys(str(body["id"]) for body in came)
    assert list(ours) == [str(event.id) for event in queries.events_after(engine, run.pipeline_id)]


def test_a_run_whose_lease_ran_out_while_the_database_was_away_may_renew_it_first(
    own_home: Path, engine: Engine
) -> None:
    run = create_run(engine, RunParameters(), Origin("cli"), lease_seconds=1)
    restart(own_home)
    over = text("select lease_expires_at < clock_timestamp() from pipelines where id = :id")
    with engine.connect() as connection:
        until(lambda: connection.execute(over, {"id": run.pipeline_id}).scalar_one(), "its lease is over", 5)
    assert run.pipeline_id not in reap(engine)
    assert not run.renew_lease()
    until(lambda: run.pipeline_id in reap(engine), "who does not renew is found dead after all", 30)


def events_written(run: StartedRun) -> int:
    return len(queries.events_after(run.bench.engine, run.pipeline_id))


def test_a_whole_run_survives_restarts_or_resumes(
    own_home: Path, engine: Engine, url: str, prefect_url: str, home: Path, settings: Settings, temporary: Path
) -> None:
    with spark.held(settings) as spark_url:
        ours = Settings(
            _env_file=None,
            database_url=url,
            prefect_api_url=prefect_url,
            spark_remote=spark_url,
            workbench_home=own_home,
            workbench_lease_seconds=4,
        )
        bench = Bench(engine, ours, temporary)
        run = bench.run("--reference-time", CLOCK)
        try:
            for _ in range(RESTARTS):
                seen = run.row["event_sequence"] if run.pipeline_id else 0
                restart(own_home)
                until(
                    lambda seen=seen: run.process.poll() is not None or run.row["event_sequence"] > seen, "it goes on"
                )
            run.wait(120)
            told = check_invariants(run)
            if told["status"] != RunStatus.COMPLETED:
                told = check_invariants(resumed(run))
            assert (told["status"], told["counts"]["exported"]) == ("completed", 200)
        finally:
            bench.kill_all()


def test_the_service_supervisor_logs_every_death(own_home: Path, url: str) -> None:
    restart(own_home)
    with embedded.held("postgres", own_home):
        log = (service_folder(own_home, "postgres") / "log").read_text(errors="replace")
    assert "restarting it" in log
