"""Messages about a run: programs get numbered events, the page gets those of its parts that have changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import Request
from sqlalchemy import Engine
from sse_starlette import EventSourceResponse, ServerSentEvent

from workbench.base.errors import UnknownRun
from workbench.base.settings import Settings
from workbench.state import queries
from workbench.state.events import event_document
from workbench.state.run_snapshot import RunReader, RunSnapshot
from workbench.state.states import StageStatus
from workbench.web.broadcaster import Subscriber, Topic

EVENTS, PAGE = "events", "page"
Render = Callable[[RunSnapshot], Mapping[str, str]]
_PING_SECONDS = 15
_SEND_SECONDS = 30.0
_RETRY = b"retry: 1000\r\n\r\n"


@dataclass
class EventTopic:
    """Numbered events, each once and in order for each subscriber; progress between them comes without a number."""

    pipeline_id: str
    subscribers: list[Subscriber] = field(default_factory=list)
    _progress: dict[str, Any] = field(default_factory=dict)

    def welcome(self, engine: Engine, subscriber: Subscriber) -> None:
        newest = int(queries.run_row(engine, self.pipeline_id)["event_sequence"])
        subscriber.last = min(subscriber.last, newest)
        self._send_events(engine, [subscriber])

    def refresh(self, engine: Engine) -> None:
        self._send_events(engine, self.subscribers)
        self._send_progress(engine)

    def _send_events(self, engine: Engine, subscribers: list[Subscriber]) -> None:
        for event in queries.events_after(engine, self.pipeline_id, min(each.last for each in subscribers)):
            message = ServerSentEvent(to_text(event_document(event)), id=str(event.sequence)).encode()
            for subscriber in subscribers:
                if event.sequence > subscriber.last:
                    subscriber.last = event.sequence
                    subscriber.send(message)

    def _send_progress(self, engine: Engine) -> None:
        stages = queries.stage_rows(engine, self.pipeline_id)
        if not stages:
            raise UnknownRun(f"run {self.pipeline_id} was cleaned away")
        running = {row["name"]: row["progress"] for row in stages if row["status"] == StageStatus.RUNNING}
        for stage, progress in running.items():
            if progress and self._progress.get(stage) != progress:
                message = ServerSentEvent(to_text({"stage": stage, **progress}), event="progress").encode()
                for subscriber in self.subscribers:
                    subscriber.send(message)
        self._progress = running


@dataclass
class PageTopic:
    """The page's parts as HTML, by the id of their element; rendered once for all subscribers."""

    reader: RunReader
    render: Render
    subscribers: list[Subscriber] = field(default_factory=list)
    _shown: Mapping[str, str] = field(default_factory=dict)

    def welcome(self, engine: Engine, subscriber: Subscriber) -> None:
        self._send_changes(engine, [each for each in self.subscribers if each is not subscriber])
        subscriber.send(_parts(self._shown))

    def refresh(self, engine: Engine) -> None:
        self._send_changes(engine, self.subscribers)

    def _send_changes(self, engine: Engine, subscribers: list[Subscriber]) -> None:
        parts = self.render(self.reader.read(engine))
        changed = {name: part for name, part in parts.items() if self._shown.get(name) != part}
        self._shown = parts
        for subscriber in subscribers if changed else ():
            subscriber.send(_parts(changed))


def topic_maker(settings: Settings, render: Render) -> Callable[[str, str], Topic]:
    """Return what makes a topic of a kind about a run."""

    def make(kind: str, pipeline_id: str) -> Topic:
        if kind == PAGE:
            return PageTopic(RunReader(settings, pipeline_id), render)
        return EventTopic(pipeline_id)

    return make


def to_text(document: Any) -> str:
    return orjson.dumps(document, default=float).decode()


def _parts(parts: Mapping[str, str]) -> bytes:
    return ServerSentEvent(to_text(dict(parts)), event="parts").encode()


class Stream(EventSourceResponse):
    """A stream of encoded messages. A client that takes none for half a minute is disconnected, and reconnects."""

    def __init__(self, messages: AsyncGenerator[bytes, None]) -> None:
        super().__init__(_with_retry(messages), ping=_PING_SECONDS, send_timeout=_SEND_SECONDS)


async def _with_retry(messages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield _RETRY
    async with aclosing(messages):
        async for message in messages:
            yield message


def wants_stream(request: Request) -> bool:
    """Return whether the client asks for a stream, as browsers' EventSource does."""
    return "text/event-stream" in request.headers.get("accept", "")
