"""A terminal that is closed ends what was started in it cleanly; with SIGHUP ignored (nohup), all goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.bench import Bench, until
from tests.faults.terminals import Terminal
from workbench.base.settings import Settings

_ENDS = {"relay": 0, "web": -signal.SIGTERM}  # uvicorn ends by the signal it was given, after its shutdown


@pytest.fixture
def light_bench(engine: Engine, database_url: str, broker_url: str, home: Path, temporary: Path) -> Bench:
    """Commands that want neither Spark nor Prefect."""
    return Bench(
        engine, Settings(_env_file=None, database_url=database_url, amqp_url=broker_url, workbench_home=home), temporary
    )


@pytest.mark.parametrize("command", ["relay", "web"])
def test_a_command_whose_terminal_is_closed_ends_in_good_order(light_bench: Bench, command: str) -> None:
    bench, terminal = light_bench, Terminal()
    ready = bench.temporary / "ready"
    started = bench.start(command, limits=terminal.attach, WORKBENCH_READY_FILE=str(ready), WORKBENCH_WEB_PORT="18797")
    try:
        until(ready.exists, "it is ready")
        terminal.close()
        assert started.wait(30) == _ENDS[command], started.said()
    finally:
        bench.kill_all()


def test_with_sighup_ignored_a_command_outlives_its_terminal(light_bench: Bench) -> None:
    bench, terminal = light_bench, Terminal()
    ready = bench.temporary / "ready"
    started = bench.start("relay", limits=terminal.attach_without_hangup, WORKBENCH_READY_FILE=str(ready))
    try:
        until(ready.exists, "it is ready")
        terminal.close()
        time.sleep(1)
        assert started.process.poll() is None
        started.signal(signal.SIGTERM)
        assert started.wait(30) == 0
    finally:
        bench.kill_all()
