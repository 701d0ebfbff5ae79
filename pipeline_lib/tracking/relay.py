"""Carries events from the outbox to RabbitMQ: at least once, in order per run, never one that was not committed.

One relay publishes at a time (an advisory lock), because two could overtake each other within a run. Consumers
drop duplicates by `message_id`. Cell events are for whoever watches: when nobody has bound a queue for them the
broker may drop them, so only run.*, stage.* and dataset.* are published as mandatory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pika
from cloudevents.core.bindings.rabbitmq import to_structured_event
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, NackError, UnroutableError
from sqlalchemy import Connection, Engine, func, select, text, update
from sqlalchemy.exc import DBAPIError

from pipeline_lib.tracking.events import cloud_event
from pipeline_lib.tracking.models import PipelineEvent

log = logging.getLogger(__name__)
EXCHANGE = "pipeline.events"
STATUS_QUEUE = "pipeline.status"
STATUS_KEYS = ("run.*", "stage.*", "dataset.*")
_QUEUE_LENGTH = 100_000
_RELAY_LOCK = 0x6E62_7772
_BATCH = 200
_PAUSE_SECONDS = 0.5
_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Delivery:
    """What one pass did: events confirmed by the broker, and events it could not route (they stay waiting)."""

    published: int = 0
    unroutable: int = 0


def declare(channel: BlockingChannel) -> None:
    """Declare the durable topic exchange and the bounded status queue (the oldest leave when it is full)."""
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    channel.queue_declare(STATUS_QUEUE, durable=True, arguments={"x-max-length": _QUEUE_LENGTH})
    for key in STATUS_KEYS:
        channel.queue_bind(STATUS_QUEUE, EXCHANGE, key)


def publish_waiting(engine: Engine, channel: BlockingChannel) -> Delivery:
    """Publish every waiting event once and mark what was confirmed; raises AMQPError when the broker goes away.

    A relay killed between confirmation and mark publishes again: at least once.
    """
    published = 0
    blocked_runs: dict[str, int] = {}
    with engine.connect() as connection:
        if not connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": _RELAY_LOCK}).scalar_one():
            return Delivery()
        try:
            while rows := _waiting(connection, set(blocked_runs)):
                published += _publish_rows(connection, channel, rows, blocked_runs)
        finally:
            connection.rollback()
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _RELAY_LOCK})
            connection.commit()
    return Delivery(published, sum(blocked_runs.values()))


def _waiting(connection: Connection, blocked_runs: set[str]) -> list[PipelineEvent]:
    table = PipelineEvent.__table__.c
    query = select(PipelineEvent.__table__).where(table.published_at.is_(None), table.pipeline_id.not_in(blocked_runs))
    rows = connection.execute(query.order_by(table.pipeline_id, table.sequence).limit(_BATCH)).mappings()
    return [PipelineEvent(**row) for row in rows]


def _publish_rows(
    connection: Connection, channel: BlockingChannel, rows: list[PipelineEvent], blocked_runs: dict[str, int]
) -> int:
    published = 0
    for row in rows:
        if row.pipeline_id in blocked_runs:
            continue
        try:
            _publish(channel, row)
        except (UnroutableError, NackError) as error:
            log.warning("event not accepted, it waits", extra={"type": row.type, "error_type": type(error).__name__})
            blocked_runs[row.pipeline_id] = 1
            continue
        mark = update(PipelineEvent).where(PipelineEvent.id == row.id).values(published_at=func.clock_timestamp())
        connection.execute(mark)
        published += 1
    connection.commit()
    return published


def _publish(channel: BlockingChannel, row: PipelineEvent) -> None:
    message = to_structured_event(cloud_event(row))
    properties = pika.BasicProperties(
        content_type=message.content_type,
        delivery_mode=pika.DeliveryMode.Persistent,
        message_id=str(row.id),
        type=row.type,
        timestamp=int(row.created_at.timestamp()),
    )
    mandatory = not row.type.startswith("cell.")
    channel.basic_publish(EXCHANGE, row.type, message.body, properties, mandatory=mandatory)


@contextmanager
def confirming_channel(parameters: pika.connection.Parameters) -> Iterator[BlockingChannel]:
    """Open a channel with publisher confirms on the declared exchange; raises AMQPError."""
    connection = pika.BlockingConnection(parameters)
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        declare(channel)
        yield channel
    finally:
        if connection.is_open:
            connection.close()


@contextmanager
def relaying(engine: Engine, parameters: pika.connection.Parameters | None) -> Iterator[None]:
    """Relay in the background while the block lasts, and once more at its end; without a broker events wait.

    Losing the broker is logged and tried again; it never reaches the run (P10).
    """
    if parameters is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_relay_until, args=(engine, parameters, ended), name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=10)


def _relay_until(engine: Engine, parameters: pika.connection.Parameters, ended: threading.Event) -> None:
    while True:
        try:
            with confirming_channel(parameters) as channel:
                while not ended.wait(_PAUSE_SECONDS):
                    publish_waiting(engine, channel)
                    channel.connection.process_data_events(0)
                publish_waiting(engine, channel)
            return
        except (AMQPError, DBAPIError, OSError) as error:
            log.warning("events wait for the broker", extra={"error_type": type(error).__name__})
            if ended.wait(_RETRY_SECONDS):
                return
