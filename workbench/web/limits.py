"""How much one may send, and how often one may start something."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.web.problems import send_problem

MAX_BODY_BYTES = 10_000_000
_TOO_LARGE = f"a request may hold {MAX_BODY_BYTES:,} bytes at most"
_KEYS_REMEMBERED = 1_000


@dataclass(frozen=True)
class BodyLimit:
    """Refuses a body that is announced as too large, and one that turns out to be (413)."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _announced(scope) > MAX_BODY_BYTES:
            await send_problem(scope, receive, send, 413, _TOO_LARGE)
        else:
            await self.app(scope, _counted(receive), send)


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return max((int(value) for value in lengths if value.isdigit()), default=0)


def _counted(receive: Receive) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return counted


@dataclass
class TokenBucket:
    """Lets `burst` starts happen at once and then one every `seconds`. A repeated request with one key counts once."""

    burst: int = 30
    seconds: float = 2.0
    _level: float = field(init=False)
    _at: float = field(default_factory=time.monotonic)
    _keys: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._level = float(self.burst)

    def take(self, key: str | None) -> float:
        """Take one start; returns 0, or the seconds after which there will be one again."""
        with self._lock:
            now = time.monotonic()
            self._level = min(self.burst, self._level + (now - self._at) / self.seconds)
            self._at = now
            if key is not None and key in self._keys:
                return 0.0
            if self._level < 1:
                return (1 - self._level) * self.seconds
            self._level -= 1
            self._remember(key)
            return 0.0

    def _remember(self, key: str | None) -> None:
        if key is None:
            return
        self._keys[key] = None
        while len(self._keys) > _KEYS_REMEMBERED:
            self._keys.popitem(last=False)
