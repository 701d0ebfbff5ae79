"""Sends the news of runs to subscribers: one thread, one database connection, any number of subscribers.

PostgreSQL notifies of every new event (workbench/state/events.py). Other changes, and events missed while the
connection was lost, are found by one small query twice a second while there are subscribers. Without subscribers the
thread still looks every two seconds for runs whose owner has died, so that the next page shows them as crashed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Protocol

import psycopg2
from psycopg2 import sql
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from workbench.base.errors import UnknownRun
from workbench.state.events import CHANNEL

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_IDLE_SECONDS = 2.0
_AGAIN_SECONDS = 1.0
_QUEUE_LENGTH = 5_000
_VERSIONS = text("""
    select
        id, event_sequence, status, cancel_requested_at,
        (select jsonb_object_agg(name, progress) from pipeline_stages
         where pipeline_id = pipelines.id and pipeline_stages.status = 'running') as progress,
        (select concat_ws(' ', status, reason) from pipeline_publications
         where pipeline_id = pipelines.id) as publication
    from pipelines where id = any(:ids)
""")


class Subscriber:
    """The queue of one stream: messages wait here until they are sent. `last` is the number of the last event in it."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, message: bytes | None) -> None:
        """Queue a message from the live thread; None ends the stream. A full queue ends it, too; clients reconnect."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the stream with it
            self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: bytes | None) -> None:
        if self._messages.qsize() >= _QUEUE_LENGTH:
            self._messages = asyncio.Queue()
            message = None
        self._messages.put_nowait(message)

    async def next(self) -> bytes | None:
        return await self._messages.get()


class Topic(Protocol):
    """One kind of message about one run."""

    subscribers: list[Subscriber]

    def welcome(self, engine: Engine, subscriber: Subscriber) -> None:
        """Send a new subscriber what it has missed. Raises `UnknownRun`."""

    def refresh(self, engine: Engine) -> None:
        """Send all subscribers what has changed. Raises `UnknownRun`."""


Key = tuple[str, str]  # kind of topic, run id
Change = Callable[[Engine], object]


class Live:
    """The thread. `make_topic(kind, pipeline_id)` builds what a subscriber asks for; `look_after` ends crashed runs."""

    def __init__(self, url: URL, make_topic: Callable[[str, str], Topic], look_after: Change) -> None:
        self._url = url
        self._make_topic = make_topic
        self._look_after = look_after
        self._topics: dict[Key, Topic] = {}
        self._versions: dict[str, Any] = {}
        self._asked: deque[Change] = deque()
        self._stopping = threading.Event()
        self._woken, self._waker = socket.socketpair()  # objects: a number would be another file's once it is closed
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._live, name="live", daemon=True)
        self.connected = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and all streams."""
        self._stopping.set()
        self._wake()
        self._thread.join()
        self._woken.close()
        self._waker.close()

    async def watch(self, kind: str, pipeline_id: str, last: int) -> AsyncGenerator[bytes, None]:
        """Yield messages of this kind about a run that exists: those after event `last`, then each as it happens."""
        subscriber = Subscriber(last)
        self._ask(lambda engine: self._join((kind, pipeline_id), subscriber, engine))
        try:
            while (message := await subscriber.next()) is not None:
                yield message
        finally:
            self._ask(lambda _engine: self._leave((kind, pipeline_id), subscriber))

    def _ask(self, change: Change) -> None:
        self._asked.append(change)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # full: it is awake anyway; closed: it has ended
            self._waker.send(b"x")

    def _join(self, key: Key, subscriber: Subscriber, engine: Engine) -> None:
        topic = self._topics.setdefault(key, self._make_topic(*key))
        if subscriber not in topic.subscribers:
            topic.subscribers.append(subscriber)
        self._guarded(key, lambda: topic.welcome(engine, subscriber))

    def _leave(self, key: Key, subscriber: Subscriber) -> None:
        topic = self._topics.get(key)
        if topic is not None and subscriber in topic.subscribers:
            topic.subscribers.remove(subscriber)
            if not topic.subscribers:
                del self._topics[key]
                self._versions.pop(key[1], None)

    def _live(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._listening() as (engine, connection):
                    self._serve(engine, connection)
            except (DBAPIError, psycopg2.Error, OSError) as error:
                log.warning("live connection lost, trying again", extra={"error_type": type(error).__name__})
            except Exception:  # a programming error; all streams depend on the next pass
                log.exception("live pass failed, trying again")
            self.connected.clear()
            self._stopping.wait(_AGAIN_SECONDS)
        for topic in self._topics.values():
            for subscriber in topic.subscribers:
                subscriber.send(None)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[tuple[Engine, Any]]:
        """Yield an engine whose one connection everything shares, and that connection, listening."""
        name = {"application_name": "workbench live", "connect_timeout": 10}
        engine = create_engine(self._url, poolclass=StaticPool, hide_parameters=True, connect_args=name)
        try:
            with engine.begin() as connection:
                driver: Any = connection.connection.driver_connection
                listen = sql.SQL("listen {}").format(sql.Identifier(CHANNEL))
                connection.exec_driver_sql(listen.as_string(driver))
            self._versions.clear()
            self.connected.set()
            yield engine, driver
        finally:
            engine.dispose()

    def _serve(self, engine: Engine, connection: Any) -> None:
        looked = -math.inf
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                self._do_what_was_asked(engine)
                changed = _notified(connection)
                is_due = time.monotonic() - looked >= self._pause
                if is_due:
                    changed |= self._looked_up(engine)
                    looked = time.monotonic()
                self._refresh(changed, engine)
                if is_due:
                    self._look_after(engine)  # last: messages come first
                if not connection.notifies:
                    self._sleep(selector)

    @property
    def _pause(self) -> float:
        return _LOOK_SECONDS if self._topics else _IDLE_SECONDS

    def _sleep(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(self._pause):
            if key.fileobj is self._woken:
                self._woken.recv(4096)

    def _do_what_was_asked(self, engine: Engine) -> None:
        """Do it in order; what a lost connection interrupts is done again on the next one."""
        while self._asked:
            change = self._asked[0]
            change(engine)
            self._asked.popleft()

    def _looked_up(self, engine: Engine) -> set[str]:
        """Return the watched runs that have changed since the last look."""
        ids = sorted({pipeline_id for _, pipeline_id in self._topics})
        with engine.connect() as connection:
            rows = {row.id: tuple(row) for row in connection.execute(_VERSIONS, {"ids": ids})}
        changed = {each for each in ids if rows.get(each) != self._versions.get(each, ())}
        self._versions.update({each: rows.get(each) for each in ids})
        return changed

    def _refresh(self, changed: set[str], engine: Engine) -> None:
        for key, topic in list(self._topics.items()):
            if key[1] in changed:
                self._guarded(key, lambda topic=topic: topic.refresh(engine))  # type: ignore[misc]

    def _guarded(self, key: Key, send: Callable[[], None]) -> None:
        """Call `send`; a run that is gone, or cannot be shown, ends the streams of its subscribers and no others."""
        try:
            send()
        except (DBAPIError, psycopg2.Error, OSError):
            raise
        except Exception as error:
            if not isinstance(error, UnknownRun):
                log.exception("run not shown", extra={"pipeline_id": key[1]})
            for subscriber in self._topics.pop(key).subscribers:
                subscriber.send(None)


def _notified(connection: Any) -> set[str]:
    connection.poll()
    changed = {note.payload.split(" ")[0] for note in connection.notifies}
    connection.notifies.clear()
    return changed
