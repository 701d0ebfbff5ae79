"""Carries events from the outbox to RabbitMQ: at least once, in order per run, never one that was not committed.

One relay publishes at a time (an advisory lock), because two could overtake each other within a run. Consumers
drop duplicates by `message_id`. Cell events are for whoever watches: when nobody has bound a queue for them the
broker may drop them, so only run.*, stage.* and dataset.* are published as mandatory.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pika
from cloudevents.core.bindings.rabbitmq import to_structured_event
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosed, ConnectionClosed, NackError, UnroutableError
from sqlalchemy import Connection, Engine, func, select, text, update
from sqlalchemy.exc import DBAPIError

from workbench.state.events import cloud_event
from workbench.state.models import PipelineEvent

log = logging.getLogger(__name__)
EXCHANGE = "pipeline.events"
STATUS_QUEUE = "pipeline.status"
STATUS_KEYS = ("run.*", "stage.*", "dataset.*")
_QUEUE_LENGTH = 100_000
_RELAY_LOCK = 0x6E62_7772
_BATCH = 200
_PAUSE_SECONDS = 0.5
_RETRY_SECONDS = 2.0
_STALL_SECONDS = 3.0
_FAREWELL_SECONDS = 15.0


@dataclass
class Progress:
    """How a relay gets on: events confirmed so far, and whether it has lost broker or database at present."""

    confirmed: int = 0
    away: bool = False


@dataclass(frozen=True)
class Delivery:
    """What one pass did: events confirmed by the broker, and events it gave back (they wait, their runs held up)."""

    published: int = 0
    unroutable: int = 0


def declare(channel: BlockingChannel) -> None:
    """Declare the durable topic exchange and the bounded status queue (the oldest leave when it is full)."""
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    channel.queue_declare(STATUS_QUEUE, durable=True, arguments={"x-max-length": _QUEUE_LENGTH})
    for key in STATUS_KEYS:
        channel.queue_bind(STATUS_QUEUE, EXCHANGE, key)


def publish_waiting(engine: Engine, channel: BlockingChannel, progress: Progress | None = None) -> Delivery:
    """Publish every waiting event once and mark what was confirmed; raises AMQPError when the broker goes away.

    What was confirmed before it went is marked all the same. A relay killed between confirmation and mark publishes
    again: at least once. While it waits for the broker it holds no transaction, only the lock.
    """
    progress = progress or Progress()
    before = progress.confirmed
    held_up: set[str] = set()
    with engine.connect() as connection:
        if not connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": _RELAY_LOCK}).scalar_one():
            return Delivery()
        try:
            while rows := _waiting(connection, held_up):
                _publish_rows(connection, channel, rows, held_up, progress)
        finally:
            connection.rollback()
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _RELAY_LOCK})
            connection.commit()
    return Delivery(progress.confirmed - before, len(held_up))


def _waiting(connection: Connection, held_up: set[str]) -> list[PipelineEvent]:
    table = PipelineEvent.__table__.c
    query = select(PipelineEvent.__table__).where(table.published_at.is_(None), table.pipeline_id.not_in(held_up))
    rows = connection.execute(query.order_by(table.pipeline_id, table.sequence).limit(_BATCH)).mappings()
    events = [PipelineEvent(**row) for row in rows]
    connection.commit()
    return events


def _publish_rows(
    connection: Connection, channel: BlockingChannel, rows: list[PipelineEvent], held_up: set[str], progress: Progress
) -> None:
    """Publish events in order. One that is not accepted holds up the later ones of its run, and no other run's."""
    confirmed: list[uuid.UUID] = []
    returned: list[uuid.UUID] = []
    try:
        for row in rows:
            if row.pipeline_id in held_up:
                continue
            try:
                _publish(channel, row)
            except (UnroutableError, NackError) as error:
                _warn_once(row, error)
                returned.append(row.id)
                held_up.add(row.pipeline_id)
            else:
                confirmed.append(row.id)
                progress.confirmed += 1
    finally:
        _mark(connection, confirmed, published_at=func.clock_timestamp())
        _mark(connection, returned, returned_at=func.clock_timestamp())
        connection.commit()


def _mark(connection: Connection, ids: list[uuid.UUID], **values: Any) -> None:
    if ids:
        connection.execute(update(PipelineEvent).where(PipelineEvent.id.in_(ids)).values(**values))


def _warn_once(row: PipelineEvent, error: Exception) -> None:
    if row.returned_at is None:
        fields = {"type": row.type, "pipeline_id": row.pipeline_id, "error_type": type(error).__name__}
        log.warning("no queue takes this event, it waits and holds up its run's later ones", extra=fields)


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

    Losing the broker is logged and tried again; it never reaches the run, and its end waits for the last events only
    as long as the broker takes them (P10).
    """
    if parameters is None:
        yield
        return
    ended, progress = threading.Event(), Progress()
    arguments = (engine, parameters, ended, progress)
    thread = threading.Thread(target=_relay_until, args=arguments, name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        _let_finish(thread, progress)


def _let_finish(thread: threading.Thread, progress: Progress) -> None:
    """Wait for the relay while it gets on; what it does not deliver now waits in the table for the next relay."""
    deadline = time.monotonic() + _FAREWELL_SECONDS
    seen = -1
    while thread.is_alive() and not progress.away and progress.confirmed != seen and time.monotonic() < deadline:
        seen = progress.confirmed
        thread.join(_STALL_SECONDS)


def _relay_until(
    engine: Engine, parameters: pika.connection.Parameters, ended: threading.Event, progress: Progress
) -> None:
    while True:
        try:
            with confirming_channel(parameters) as channel:
                while not ended.wait(_PAUSE_SECONDS):
                    publish_waiting(engine, channel, progress)
                    _tell_end_of_outage(progress)
                    channel.connection.process_data_events(0)
                publish_waiting(engine, channel, progress)
            return
        except Exception as error:  # whatever it is: a relay that dies silently leaves all events waiting
            if not progress.away:
                foreseen = isinstance(error, AMQPError | DBAPIError | OSError)
                fields = {"error_type": type(error).__name__, "reason": refusal(error)}
                log.warning("events wait for the broker", exc_info=None if foreseen else error, extra=fields)
            progress.away = True
            if ended.wait(_RETRY_SECONDS):
                return


def _tell_end_of_outage(progress: Progress) -> None:
    """Say once that events are delivered again."""
    if progress.away:
        log.warning("events are delivered again")
    progress.away = False


def refusal(error: Exception) -> str | None:
    """Return the broker's own words when it has refused what a relay declares or publishes, else None.

    They name exchange, queue, virtual host and user, and never a password.
    """
    return error.reply_text if isinstance(error, ConnectionClosed | ChannelClosed) else None
