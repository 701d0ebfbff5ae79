"""Reads server-sent events as a browser does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson


@dataclass(frozen=True)
class Message:
    """One message; `id` is None where it has none."""

    event: str
    id: int | None
    data: Any


@contextmanager
def stream(client: httpx.Client, path: str, **headers: str) -> Iterator[Iterator[Message]]:
    """Yield the messages of a stream."""
    with client.stream("GET", path, headers={"Accept": "text/event-stream", **headers}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _messages(answer.iter_lines())


def _messages(lines: Iterator[str]) -> Iterator[Message]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            yield Message(fields.get("event", "message"), number, orjson.loads(fields["data"]))
        fields = {}


def numbered(messages: Iterator[Message], last: int) -> list[int]:
    """Return the ids of the numbered messages up to `last`."""
    seen = []
    for message in messages:
        if message.id is not None:
            seen.append(message.id)
            if message.id >= last:
                break
    return seen
