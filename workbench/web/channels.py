"""What watchers of a run are told: programs get numbered events, the page gets the parts of it that have changed."""

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
from workbench.web.broadcaster import Topic, Watcher

EVENTS, PAGE = "events", "page"
Render = Callable[[RunSnapshot], Mapping[str, str]]
_PING_SECONDS = 15
_SEND_SECONDS = 30.0
_RETRY = b"retry: 1000\r\n\r\n"


@dataclass
class EventTopic:
    """Numbered events, each once and in order for each watcher; progress between them comes without a number."""

    pipeline_id: str
    watchers: list[Watcher] = field(default_factory=list)
    _progress: dict[str, Any] = field(default_factory=dict)

    def welcome(self, engine: Engine, watcher: Watcher) -> None:
        newest = int(queries.run_row(engine, self.pipeline_id)["event_sequence"])
        watcher.last = min(watcher.last, newest)
        self._tell_events(engine, [watcher])

    def refresh(self, engine: Engine) -> None:
        self._tell_events(engine, self.watchers)
        self._tell_progress(engine)

    def _tell_events(self, engine: Engine, watchers: list[Watcher]) -> None:
        for event in queries.events_after(engine, self.pipeline_id, min(each.last for each in watchers)):
            message = ServerSentEvent(to_text(event_document(event)), id=str(event.sequence)).encode()
            for watcher in watchers:
                if event.sequence > watcher.last:
                    watcher.last = event.sequence
                    watcher.tell(message)

    def _tell_progress(self, engine: Engine) -> None:
        stages = queries.stage_rows(engine, self.pipeline_id)
        if not stages:
            raise UnknownRun(f"run {self.pipeline_id} was cleaned away")
        running = {row["name"]: row["progress"] for row in stages if row["status"] == StageStatus.RUNNING}
        for stage, progress in running.items():
            if progress and self._progress.get(stage) != progress:
                message = ServerSentEvent(to_text({"stage": stage, **progress}), event="progress").encode()
                for watcher in self.watchers:
                    watcher.tell(message)
        self._progress = running


@dataclass
class PageTopic:
    """The page's parts as HTML, by the id of their element; rendered once for all who watch the run."""

    reader: RunReader
    render: Render
    watchers: list[Watcher] = field(default_factory=list)
    _shown: Mapping[str, str] = field(default_factory=dict)

    def welcome(self, engine: Engine, watcher: Watcher) -> None:
        self._tell_changes(engine, [each for each in self.watchers if each is not watcher])
        watcher.tell(_parts(self._shown))

    def refresh(self, engine: Engine) -> None:
        self._tell_changes(engine, self.watchers)

    def _tell_changes(self, engine: Engine, watchers: list[Watcher]) -> None:
        parts = self.render(self.reader.read(engine))
        changed = {name: part for name, part in parts.items() if self._shown.get(name) != part}
        self._shown = parts
        for watcher in watchers if changed else ():
            watcher.tell(_parts(changed))


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
    """Messages that are encoded already. Whoever takes none for half a minute is let go, and comes again."""

    def __init__(self, messages: AsyncGenerator[bytes, None]) -> None:
        super().__init__(_with_retry(messages), ping=_PING_SECONDS, send_timeout=_SEND_SECONDS)


async def _with_retry(messages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield _RETRY
    async with aclosing(messages):
        async for message in messages:
            yield message


def wants_stream(request: Request) -> bool:
    """Tell whether the client asks for a stream, as browsers' EventSource does."""
    return "text/event-stream" in request.headers.get("accept", "")
