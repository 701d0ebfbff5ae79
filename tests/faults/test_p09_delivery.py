"""P9: every state change reaches RabbitMQ at least once, in order within a run, and none that never happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest
from sqlalchemy import Engine, text

from tests.faults.bench import until
from tests.faults.broker import Broker, is_installed, running_broker
from tests.faults.cutting import UnheardConfirms, cutting_proxy
from tests.faults.writing import Writer, a_run, writing
from tests.integration.test_relay import listening, received
from workbench.base.settings import Settings
from workbench.cli.doctor import diagnose
from workbench.state import queries, relay
from workbench.state.runs import OwnedRun

pytestmark = pytest.mark.promise(
    "P9", "every state change reaches RabbitMQ at least once, in order within a run, and none that never happened"
)
QUEUE = "everything"


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A node of our own, to be restarted and starved; a loud skip without RabbitMQ."""
    if not is_installed():
        pytest.skip("NO RABBITMQ SERVER: faults of the broker are not tried; `make services` installs it")
    with running_broker() as node:
        yield node


@pytest.fixture(autouse=True)
def _empty(broker: Broker) -> None:
    """Begin with a durable queue that takes everything, and nothing in it."""
    with _channel(broker) as channel:
        relay.declare(channel)
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_bind(QUEUE, relay.EXCHANGE, "#")
        channel.queue_purge(QUEUE)


@contextmanager
def _channel(broker: Broker) -> Iterator[Any]:
    connection = pika.BlockingConnection(broker.parameters)
    yield connection.channel()
    connection.close()


def delivered(broker: Broker) -> list[tuple[str, str, int]]:
    """Take everything out of the queue: message id, run, sequence, as they came."""
    with _channel(broker) as channel:
        bodies = [body for _, body in received(channel, QUEUE)]
    return [(str(body["id"]), str(body["pipelineid"]), int(str(body["sequence"]))) for body in bodies]


def deliver_the_rest(engine: Engine, broker: Broker) -> None:
    with relay.relaying(engine, broker.parameters):
        until(lambda: queries.waiting_events(engine) == 0, "the outbox drains")


def check_delivery(engine: Engine, broker: Broker, run: OwnedRun) -> Counter[str]:
    """All in the table has come, nothing else, in order once doubles are dropped; returns how often each came."""
    came = delivered(broker)
    table = [(str(event.id), event.sequence) for event in queries.events_after(engine, run.pipeline_id)]
    assert [sequence for _, sequence in table] == list(range(1, len(table) + 1))
    firsts = list(dict.fromkeys((message, number) for message, owner, number in came if owner == run.pipeline_id))
    assert firsts == table
    return Counter(message for message, _, _ in came)


def test_a_broker_restarted_ten_times_gets_everything(engine: Engine, broker: Broker) -> None:
    with relay.relaying(engine, broker.parameters), writing(engine) as writer:
        broker.restart(10)
    assert writer.written > 50
    deliver_the_rest(engine, broker)
    check_delivery(engine, broker, writer.run)


def test_what_happens_while_there_is_no_broker_is_delivered_by_the_next_relay(engine: Engine, broker: Broker) -> None:
    nowhere = pika.ConnectionParameters("127.0.0.1", 1, connection_attempts=1)
    with relay.relaying(engine, nowhere), writing(engine) as writer:
        until(lambda: writer.written > 20, "events are written")
    assert delivered(broker) == []
    deliver_the_rest(engine, broker)
    assert set(check_delivery(engine, broker, writer.run).values()) == {1}


def test_a_connection_cut_between_publish_and_confirm_loses_nothing(engine: Engine, broker: Broker) -> None:
    writer = Writer(a_run(engine))
    for _ in range(30):
        writer.write()
    line = UnheardConfirms(unheard={1, 5, 20})
    with cutting_proxy(broker.port, line):
        parameters = pika.ConnectionParameters("127.0.0.1", line.port)
        with relay.relaying(engine, parameters):
            until(lambda: queries.waiting_events(engine) == 0, "the outbox drains")
    assert line.cuts == 3
    times = check_delivery(engine, broker, writer.run)
    assert sum(count - 1 for count in times.values()) == 3  # what was confirmed unheard came twice, nothing else did


KILLED = """
import os, signal, sys
import pika, sqlalchemy
from workbench.state import database, relay

engine = database.connect(sys.argv[1])
published = []
publish = relay.BlockingChannel.basic_publish

def counted(*arguments, **named):
    publish(*arguments, **named)
    published.append(1)

relay.BlockingChannel.basic_publish = counted

@sqlalchemy.event.listens_for(engine, "before_cursor_execute")
def die(_connection, _cursor, statement, *_rest):
    if published and statement.lower().startswith("update pipeline_events"):
        os.kill(os.getpid(), signal.SIGKILL)

with relay.confirming_channel(pika.URLParameters(sys.argv[2])) as channel:
    relay.publish_waiting(engine, channel)
"""


def test_a_relay_killed_before_it_marks_publishes_again(engine: Engine, database_url: str, broker: Broker) -> None:
    writer = Writer(a_run(engine))
    for _ in range(9):
        writer.write()
    killed = subprocess.run([sys.executable, "-c", KILLED, database_url, broker.url], check=False, timeout=50)
    assert killed.returncode == -signal.SIGKILL
    assert queries.waiting_events(engine) == 10
    deliver_the_rest(engine, broker)
    assert set(check_delivery(engine, broker, writer.run).values()) == {2}


def test_a_broker_short_of_memory_blocks_no_writer_and_gets_everything_later(engine: Engine, broker: Broker) -> None:
    with broker.starved():
        with relay.relaying(engine, broker.parameters), writing(engine) as writer:
            until(lambda: writer.written > 50, "events are written while the broker is blocked")
        assert queries.waiting_events(engine) > 40
    deliver_the_rest(engine, broker)
    check_delivery(engine, broker, writer.run)


def test_a_relay_whose_broker_is_blocked_goes_on_by_itself_when_it_is_not(engine: Engine, broker: Broker) -> None:
    writer = Writer(a_run(engine))
    with broker.starved(), relay.relaying(engine, broker.parameters):
        writer.write()
        until(lambda: broker.blocked_connections() > 0, "the broker blocks the relay")
        broker.set_memory_alarm(False)
        until(lambda: queries.waiting_events(engine) == 0, "the outbox drains")
    check_delivery(engine, broker, writer.run)


def test_an_event_no_queue_takes_waits_is_warned_of_and_seen_by_doctor(
    engine: Engine, database_url: str, broker: Broker, home: Any, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(a_run(engine))
    writer.write()
    with relay.confirming_channel(broker.parameters) as channel:
        channel.queue_delete(QUEUE)
        for key in relay.STATUS_KEYS:
            channel.queue_unbind(relay.STATUS_QUEUE, relay.EXCHANGE, key)
        passes = [relay.publish_waiting(engine, channel) for _ in range(3)]
    assert passes == [relay.Delivery(published=0, unroutable=1)] * 3
    assert [record.levelname for record in caplog.records if "no queue takes" in record.message] == ["WARNING"]
    settings = Settings(_env_file=None, workbench_home=home, database_url=database_url, amqp_url=broker.url)
    outbox = next(each for each in diagnose(settings) if each.component == "outbox")
    assert (outbox.reachable, "2 events wait" in outbox.detail, relay.EXCHANGE in outbox.mend) == (False, True, True)
    deliver_the_rest(engine, broker)


def test_an_event_that_is_held_up_holds_up_no_other_run(engine: Engine, broker: Broker) -> None:
    stuck, free = Writer(a_run(engine)), Writer(a_run(engine))
    with relay.confirming_channel(broker.parameters) as channel:
        channel.queue_delete(QUEUE)
        channel.queue_unbind(relay.STATUS_QUEUE, relay.EXCHANGE, "run.*")
        stuck.write()
        with engine.begin() as connection:
            started = "delete from pipeline_events where pipeline_id = :id and type = 'run.started'"
            connection.execute(text(started), {"id": free.run.pipeline_id})
        free.write()
        assert relay.publish_waiting(engine, channel) == relay.Delivery(published=1, unroutable=1)
    waiting = [event.published_at is None for event in queries.events_after(engine, stuck.run.pipeline_id)]
    assert waiting == [True, True]


def test_three_relays_at_once_keep_the_order_and_publish_nothing_twice(engine: Engine, broker: Broker) -> None:
    with listening(broker.url) as (channel, queue):
        with (
            relay.relaying(engine, broker.parameters),
            relay.relaying(engine, broker.parameters),
            relay.relaying(engine, broker.parameters),
            writing(engine) as writer,
        ):
            until(lambda: writer.written > 60, "events are written")
        deliver_the_rest(engine, broker)
        ids = [body["id"] for _, body in received(channel, queue)]
    assert len(ids) == len(set(ids)) == writer.written
    assert set(check_delivery(engine, broker, writer.run).values()) == {1}


def test_what_was_rolled_back_is_never_told(engine: Engine, broker: Broker) -> None:
    run = a_run(engine)

    def broken(_connection: object) -> None:
        raise RuntimeError("no room")

    with relay.relaying(engine, broker.parameters):
        with pytest.raises(RuntimeError, match="no room"):
            run.complete("out.json", also=broken)
        until(lambda: queries.waiting_events(engine) == 0, "the outbox drains")
    assert [sequence for _, _, sequence in delivered(broker)] == [1]
