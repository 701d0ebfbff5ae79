"""A broker that answers but refuses what a relay does is no good one: doctor says so, and the relay once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from sqlalchemy import Engine

from tests.faults.bench import until
from tests.faults.broker import Broker, is_installed, running_broker
from workbench.base import logs
from workbench.base.settings import Settings
from workbench.cli.doctor import diagnose
from workbench.services.health_checks import Finding
from workbench.state import relay


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    if not is_installed():
        pytest.skip("NO RABBITMQ SERVER: a refusing broker is not tried; `make services` installs it")
    with running_broker() as node:
        yield node


def settings_for(home: Path, url: str) -> Settings:
    return Settings(_env_file=None, workbench_home=home, amqp_url=url)


def finding(settings: Settings) -> Finding:
    return next(each for each in diagnose(settings) if each.component == "broker")


@pytest.fixture
def vhost(broker: Broker) -> Iterator[str]:
    """A virtual host of the test's own; yields the URL of one who may do everything in it."""
    broker.control("add_vhost", "refusing")
    broker.control("set_permissions", "-p", "refusing", "guest", ".*", ".*", ".*")
    yield broker.url.replace("%2F", "refusing")
    broker.control("delete_vhost", "refusing")


@pytest.mark.parametrize("taken", ["exchange", "queue"])
def test_doctor_finds_an_exchange_or_queue_with_other_arguments(vhost: str, tmp_path: Path, taken: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        if taken == "exchange":
            connection.channel().exchange_declare(relay.EXCHANGE, exchange_type="fanout", durable=True)
        else:
            connection.channel().queue_declare(relay.STATUS_QUEUE, durable=True)
    found = finding(settings_for(tmp_path, vhost))
    assert found.reachable is False
    assert "PRECONDITION_FAILED" in found.detail
    assert found.mend


def test_doctor_finds_that_the_user_may_not_publish(broker: Broker, vhost: str, tmp_path: Path) -> None:
    broker.control("set_permissions", "-p", "refusing", "guest", "", "", "")
    found = finding(settings_for(tmp_path, vhost))
    assert found.reachable is False
    assert "ACCESS_REFUSED" in found.detail


def test_doctor_calls_a_broker_good_that_takes_what_a_relay_declares(vhost: str, tmp_path: Path) -> None:
    assert finding(settings_for(tmp_path, vhost)).reachable is True


def test_an_outage_of_many_tries_is_one_line_and_its_end_another(
    engine: Engine, broker: Broker, vhost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_RETRY_SECONDS", 0.05)
    settings = settings_for(tmp_path, vhost)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    broker.control("set_permissions", "-p", "refusing", "guest", "", "", "")
    try:
        logs.configure(settings)
        with relay.relaying(engine, pika.URLParameters(vhost)):
            until(lambda: len(lines(settings)) > 0, "the outage is told", 20)
            time.sleep(1)
            assert len(lines(settings)) == 1
            broker.control("set_permissions", "-p", "refusing", "guest", ".*", ".*", ".*")
            until(lambda: len(lines(settings)) > 1, "its end is told", 20)
    finally:
        for handler in root.handlers:
            if handler not in before[0]:
                handler.close()
        root.handlers[:], root.level = before
    assert "ACCESS_REFUSED" in lines(settings)[0]
    assert "delivered again" in lines(settings)[1]
    assert len(lines(settings)) == 2


def lines(settings: Settings) -> list[str]:
    log = settings.home / "logs" / "workbench.log"
    return log.read_text().splitlines() if log.exists() else []
