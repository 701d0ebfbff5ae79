"""`workbench up` and `down`: everything in the background, kept up together, gone together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine

from tests.conftest import fresh_database
from tests.e2e.conftest import WORKBENCH, Workbench
from tests.e2e.queue import until
from tests.integration.service_watch import LOOPBACK, listening_addresses
from tests.integration.test_relay import listening, received, run_with_events
from workbench.base.settings import Settings
from workbench.services import daemon
from workbench.services.log_files import LOG_BYTES
from workbench.services.processes import free_port
from workbench.services.service_file import read_live_state
from workbench.state import database, queries
from workbench.state.runs import OwnedRun
from workbench.state.states import RunStatus


@dataclass(frozen=True)
class Up:
    """What is kept up in one home."""

    settings: Settings
    workbench: Workbench

    def component(self, name: str) -> daemon.ComponentState:
        state = daemon.look(self.settings)
        assert state is not None, "not up"
        return next(each for each in state.components if each.name == name)

    def processes(self) -> list[str]:
        """Return the command lines of all processes that work for this home."""
        return [" ".join(each) for each in map(_of_home(str(self.settings.home)), psutil.process_iter()) if each]

    def members(self) -> list[psutil.Process]:
        """Return all processes that work for this home."""
        of_home = _of_home(str(self.settings.home))
        return [process for process in psutil.process_iter() if of_home(process)]


def _of_home(home: str):  # type: ignore[no-untyped-def]
    def command(process: psutil.Process) -> list[str]:
        with suppress(psutil.Error):
            words: list[str] = process.cmdline()
            known = [*words, *process.environ().values()]
            return words if any(home in text for text in known) else []
        return []

    return command


def _in(home: Path, **external: str) -> Up:
    port = free_port()
    environment = {"WORKBENCH_HOME": str(home), "WORKBENCH_WEB_PORT": str(port), **external}
    return Up(Settings(_env_file=None, workbench_home=home, workbench_web_port=port), Workbench(environment))


@pytest.fixture(scope="module")
def up(home: Path) -> Iterator[Up]:
    """Everything embedded, up in a home of its own."""
    first = _in(home / "kept-up")
    done = first.workbench("up")
    assert done.returncode == 0, done.stderr
    yield first
    first.workbench("down")


def test_up_says_where_things_are_and_doing_it_again_changes_nothing(up: Up) -> None:
    before = daemon.look(up.settings)
    done = up.workbench("up")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("up already\n")
    for name in ("page", "prefect"):
        address = up.component(name).address
        assert address in done.stdout
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.status == 200
    assert daemon.look(up.settings) == before


def test_doctor_tells_how_the_components_are(up: Up) -> None:
    findings = {each["component"]: each for each in up.workbench.json("doctor")}
    assert all(findings[name]["reachable"] for name in ("up", "postgres", "prefect", "spark", "worker", "page"))


def test_a_run_starts_no_services_of_its_own(up: Up) -> None:
    services = ("postgres", "prefect", "spark")
    before = [up.component(name).pid for name in services]
    document = up.workbench.json("run", "--records", "20", "--defect-rate", "1", code=1)
    assert document["status"] == "failed"
    assert [up.component(name).pid for name in services] == before


@pytest.mark.promise("S4", "everything listens on loopback only")
def test_all_that_is_up_and_works_listens_on_loopback_only(up: Up) -> None:
    command = [WORKBENCH, "run", "--records", "500"]
    with subprocess.Popen(command, env={**os.environ, **up.workbench.environment}, stdout=subprocess.DEVNULL) as run:
        seen: dict[str, set[str]] = {}
        while run.poll() is None:
            for process in up.members():
                with suppress(psutil.Error):
                    seen.setdefault(process.name(), set()).update(listening_addresses([process]))
            time.sleep(1)  # looking at every process costs more than the run
    assert run.returncode == 0
    page, prefect = (up.component(name).address for name in ("page", "prefect"))
    assert all(address.startswith("http://127.0.0.1:") for address in (page, prefect))
    assert seen["java"], "Spark has not been seen"
    assert {name: addresses - LOOPBACK for name, addresses in seen.items() if addresses - LOOPBACK} == {}


@pytest.mark.promise("P24", "memory, logs and disk are bounded whatever comes in")
@pytest.mark.parametrize("name", ["page", "up"])
def test_what_a_program_has_logged_beyond_its_bound_is_moved_aside_while_it_is_up(up: Up, name: str) -> None:
    log = up.settings.home / "logs" / f"{name}.log"
    with log.open("ab") as flood:
        flood.write(b"x" * (LOG_BYTES + 1))
    until(lambda: log.stat().st_size < LOG_BYTES, "the log is small again", 20)
    assert log.with_name(f"{name}.log.1").stat().st_size >= LOG_BYTES


@pytest.mark.parametrize("name", ["page", "worker", "prefect"])
def test_a_component_that_dies_is_started_again_at_the_same_address(up: Up, name: str) -> None:
    before = up.component(name)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: up.component(name).restarts > before.restarts, "the supervisor has seen it", 60)
    until(lambda: up.component(name).status == "up", "it is up again", 90)
    after = up.component(name)
    assert (after.pid != before.pid, after.address) == (True, before.address)


def test_the_relay_carries_what_waited_and_what_comes_while_no_run_is_worked(
    up: Up, home: Path, server_url: str, broker_url: str
) -> None:
    with fresh_database(server_url) as url, listening(broker_url) as (channel, queue):
        engine = database.connect(url)
        early = _ended_run(engine)
        second = _in(home / "relays", **_services_of(up), DATABASE_URL=url, AMQP_URL=broker_url)
        try:
            done = second.workbench("up")
            assert done.returncode == 0, done.stderr
            late = _ended_run(engine)
            until(lambda: queries.waiting_events(engine) == 0, "everything is delivered", 60)
        finally:
            second.workbench("down")
        bodies = [body for _, body in received(channel, queue)]
        for run in (early, late):
            sent = [body["type"] for body in bodies if body["pipelineid"] == run.pipeline_id]
            assert sent == [row.type for row in queries.events_after(engine, run.pipeline_id)]
        engine.dispose()


def _ended_run(engine: Engine) -> OwnedRun:
    run = run_with_events(engine)
    run.end_badly(RunStatus.FAILED, {"name": "Reason", "message": "for a reason"})
    return run


def _services_of(up: Up) -> dict[str, str]:
    """Return the settings by which another group uses Prefect and Spark of this one."""
    spark = read_live_state(up.settings.home / "services" / "spark")
    assert spark is not None
    return {"PREFECT_API_URL": f"{up.component('prefect').address}/api", "SPARK_REMOTE": str(spark.url)}


@pytest.mark.parametrize("how", ["down", "kill"])
def test_nothing_outlives_the_group(up: Up, home: Path, how: str) -> None:
    second = _in(home / f"ends-by-{how}", **_services_of(up))
    done = second.workbench("up")
    assert done.returncode == 0, done.stderr
    state = daemon.look(second.settings)
    assert state is not None
    assert len(second.processes()) >= 4
    if how == "down":
        assert second.workbench("down").stdout == "down\n"
    else:
        os.kill(state.pid, signal.SIGKILL)
    until(lambda: not second.processes(), f"all have gone, but {second.processes()}", 30)
    assert daemon.look(second.settings) is None


def test_a_component_that_does_not_start_is_named_and_nothing_is_left_running(up: Up, home: Path) -> None:
    taken = up.component("page").address.rstrip("/").rpartition(":")[2]
    third = _in(home / "does-not-start", PREFECT_API_URL=f"{up.component('prefect').address}/api")
    third.workbench.environment["WORKBENCH_WEB_PORT"] = taken
    done = third.workbench("up")
    assert done.returncode == 1
    assert "page: ended while starting; see" in done.stderr
    assert "Traceback" not in done.stderr
    until(lambda: not third.processes(), f"all have gone, but {third.processes()}", 30)


def test_the_state_file_holds_no_secret(up: Up) -> None:
    spark = read_live_state(up.settings.home / "services" / "spark")
    assert spark is not None
    stored = (up.settings.home / "services" / "up" / daemon.STATE).read_text("utf-8")
    assert json.loads(stored)["phase"] == daemon.UP
    assert str(spark.url).partition("token=")[2] not in stored
