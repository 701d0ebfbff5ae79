"""Metrics arrive at a real UDP socket, tagged; an agent that is away costs nothing but them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.base.settings import Settings
from workbench.services import statsd
from workbench.services.processes import free_port


@pytest.fixture
def agent() -> Iterator[socket.socket]:
    """A UDP socket where the agent would listen."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        yield listener


def test_metrics_arrive_with_the_unified_service_tags_each_once(
    agent: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DD_ENV", "tests")
    monkeypatch.setenv("DD_DOGSTATSD_PORT", str(agent.getsockname()[1]))
    with statsd.client(Settings(_env_file=None, workbench_home=tmp_path)) as client:
        client.increment("pipeline.runs", 2, tags=["status:completed"])
    arrived = agent.recv(4096).decode().strip()
    assert arrived == "pipeline.runs:2|c|#status:completed,env:tests,service:notebook-workbench,version:0.1.0"


def test_all_that_was_sent_has_left_when_the_block_ends(agent: socket.socket, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path, dd_dogstatsd_port=agent.getsockname()[1])
    with statsd.client(settings) as client:
        for number in range(50):
            client.gauge("pipeline.outbox_pending", number)
    assert len([agent.recv(4096) for _ in range(50)]) == 50


def test_an_agent_that_is_away_is_not_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    away = Settings(_env_file=None, workbench_home=tmp_path, dd_dogstatsd_port=free_port())
    with statsd.client(away) as client:
        for _ in range(200):
            client.increment("pipeline.runs")
    assert not caplog.records
