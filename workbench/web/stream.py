"""Server-sent events as an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from sse_starlette import EventSourceResponse

_PING_SECONDS = 15
_SEND_SECONDS = 30.0
_RETRY = b"retry: 1000\r\n\r\n"


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
