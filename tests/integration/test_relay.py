"""Events on a real broker: each at least once, in order, and none that the table does not hold."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import Engine

from workbench.stage.run_parameters import RunParameters
from workbench.state import queries, relay
from workbench.state.events import Event, EventType
from workbench.state.runs import Origin, OwnedRun, create_run


@contextmanager
def listening(broker_url: str, key: str = "#") -> Iterator[tuple[BlockingChannel, str]]:
    """Bind a queue of our own to the exchange for the block."""
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    relay.declare(channel)
    queue = channel.queue_declare(f"test-{secrets.token_hex(4)}", exclusive=True).method.queue
    channel.queue_bind(queue, relay.EXCHANGE, key)
    yield channel, queue
    connection.close()


def received(channel: BlockingChannel, queue: str) -> list[tuple[pika.BasicProperties, dict[str, object]]]:
    messages = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return messages
        messages.append((properties, json.loads(body)))


def run_with_events(engine: Engine) -> OwnedRun:
    run = create_run(engine, RunParameters(), Origin("cli"), 30)
    run.start()
    run.stage_started("generate")
    run.record(Event(EventType.CELL_STARTED, {"cell": 1}, "generate"))
    run.record(Event(EventType.CELL_COMPLETED, {"cell": 1, "seconds": 0.1}, "generate"))
    return run


def test_what_is_delivered_equals_the_table(engine: Engine, broker_url: str) -> None:
    run = run_with_events(engine)
    with listening(broker_url) as (channel, queue):
        with relay.confirming_channel(pika.URLParameters(broker_url)) as publisher:
            assert relay.publish_waiting(engine, publisher) == relay.Delivery(published=4)
        ours = [pair for pair in received(channel, queue) if pair[1]["pipelineid"] == run.pipeline_id]
    table = queries.events_after(engine, run.pipeline_id)
    assert [body["id"] for _, body in ours] == [str(row.id) for row in table]
    assert [body["sequence"] for _, body in ours] == [str(row.sequence) for row in table]
    assert [body["type"] for _, body in ours] == [row.type for row in table]
    assert all(body["specversion"] == "1.0" for _, body in ours)
    assert all(properties.message_id == body["id"] and properties.delivery_mode == 2 for properties, body in ours)
    assert queries.waiting_events(engine) == 0


def test_events_without_a_broker_wait_and_the_next_relay_delivers_them(engine: Engine, broker_url: str) -> None:
    with relay.relaying(engine, None):
        run = run_with_events(engine)
    assert queries.waiting_events(engine) == 4
    with listening(broker_url) as (channel, queue):
        with relay.relaying(engine, pika.URLParameters(broker_url)):
            pass
        assert len([1 for _, body in received(channel, queue) if body["pipelineid"] == run.pipeline_id]) == 4
    assert queries.waiting_events(engine) == 0


def test_a_broker_that_is_not_there_stops_nobody(engine: Engine) -> None:
    nowhere = pika.ConnectionParameters("127.0.0.1", 1, connection_attempts=1)
    with relay.relaying(engine, nowhere):
        run = run_with_events(engine)
    assert len(queries.events_after(engine, run.pipeline_id)) == 4
    assert queries.waiting_events(engine) == 4


def test_the_status_queue_gets_states_and_no_cells(engine: Engine, broker_url: str) -> None:
    run = run_with_events(engine)
    with relay.confirming_channel(pika.URLParameters(broker_url)) as channel:
        relay.publish_waiting(engine, channel)
        types = [
            body["type"] for _, body in received(channel, relay.STATUS_QUEUE) if body["pipelineid"] == run.pipeline_id
        ]
    assert types == ["run.started", "stage.started"]


def test_an_event_that_cannot_be_routed_waits_and_is_counted(engine: Engine, broker_url: str) -> None:
    run = run_with_events(engine)
    with relay.confirming_channel(pika.URLParameters(broker_url)) as channel:
        for key in relay.STATUS_KEYS:
            channel.queue_unbind(relay.STATUS_QUEUE, relay.EXCHANGE, key)
        assert relay.publish_waiting(engine, channel) == relay.Delivery(published=0, unroutable=1)
        assert queries.waiting_events(engine) == 4
        relay.declare(channel)
        assert relay.publish_waiting(engine, channel) == relay.Delivery(published=4)
    assert [row.published_at is not None for row in queries.events_after(engine, run.pipeline_id)] == [True] * 4


def test_two_relays_at_once_publish_nothing_twice(engine: Engine, broker_url: str) -> None:
    parameters = pika.URLParameters(broker_url)
    with listening(broker_url) as (channel, queue):
        with relay.relaying(engine, parameters), relay.relaying(engine, parameters):
            run = run_with_events(engine)
        ids = [body["id"] for _, body in received(channel, queue) if body["pipelineid"] == run.pipeline_id]
    assert len(ids) == len(set(ids)) == 4
