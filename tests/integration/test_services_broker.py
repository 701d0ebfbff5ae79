"""RabbitMQ is reached within bounds, and refusals name the place but no secret."""

from __future__ import annotations

from pathlib import Path

import pika
import pytest

from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import broker
from workbench.services.processes import free_port

SECRET = "canary-28ee"


def _settings(home: Path, url: str | None) -> Settings:
    return Settings(_env_file=None, workbench_home=home, amqp_url=url)


def test_the_broker_tells_its_version(broker_url: str, tmp_path: Path) -> None:
    assert broker.check(_settings(tmp_path, broker_url)).startswith("RabbitMQ ")


def test_a_connection_notices_a_dead_or_blocked_broker(broker_url: str, tmp_path: Path) -> None:
    parameters = broker.parameters(_settings(tmp_path, broker_url))
    assert parameters is not None
    assert parameters.heartbeat
    assert parameters.blocked_connection_timeout
    assert parameters.socket_timeout < parameters.stack_timeout < 10
    with pika.BlockingConnection(parameters) as connection:
        assert connection.is_open


def test_without_a_broker_there_are_no_parameters(tmp_path: Path) -> None:
    assert broker.parameters(_settings(tmp_path, None)) is None
    with pytest.raises(ServiceUnavailable, match="AMQP_URL is not set"):
        broker.check(_settings(tmp_path, None))


def test_a_wrong_password_is_told_without_the_password(broker_url: str, tmp_path: Path) -> None:
    place = f"{broker_url.rpartition('@')[2]}"
    with pytest.raises(ServiceUnavailable, match="user or password refused") as caught:
        broker.check(_settings(tmp_path, f"amqp://guest:{SECRET}@{place}"))
    assert SECRET not in str(caught.value)


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(ServiceUnavailable, match=rf"127.0.0.1:{port}: no server answers; .*AMQP_URL") as caught:
        broker.check(_settings(tmp_path, f"amqp://guest:{SECRET}@127.0.0.1:{port}/"))
    assert SECRET not in str(caught.value)


def test_a_url_that_is_none_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="AMQP_URL") as caught:
        broker.parameters(_settings(tmp_path, f"amqp://guest:{SECRET}@127.0.0.1:port/"))
    assert SECRET not in str(caught.value)
