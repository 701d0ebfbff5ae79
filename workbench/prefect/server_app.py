"""Prefect's server as the workbench starts it: behind a gate that neither foreign web pages nor other users pass.

Prefect answers every page that asks (its CORS setting allows all), takes bodies without a content type for JSON, and
does not look at `Host`. So any page in a browser of this machine, and any other user of it, could have a worker run
what they like. Here the address that was asked must be loopback's, who asks must be no page at all or one of that very
address, and the connection must be our own user's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.services.peers import is_ours

if TYPE_CHECKING:
    from fastapi import FastAPI

NAMES = "WORKBENCH_PREFECT_NAMES"  # further host:port by which programs reach it, comma between them
_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_REFUSED = "requests that other pages or other users make are refused, and so are addresses that are not loopback's\n"


def create_app() -> FastAPI:
    """Return Prefect's application behind the gate."""
    from prefect.server.api.server import create_app as create_prefect

    app = create_prefect()
    app.add_middleware(OwnPagesOnly, names=frozenset(filter(None, os.environ.get(NAMES, "").lower().split(","))))
    return app


@dataclass(frozen=True)
class OwnPagesOnly:
    """Refuses what a foreign page or another user sends, reads or embeds, by HTTP and by websocket (403)."""

    app: ASGIApp
    names: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (is_own(Headers(scope=scope), self.names) and is_ours(scope)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(_REFUSED, 403)(scope, receive, send)


def is_own(headers: Headers, names: frozenset[str]) -> bool:
    """Tell whether a request asks a loopback address (any port: tunnels) or name, and no foreign page has made it."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or (_OWN_HOST.fullmatch(hosts[0]) is None and hosts[0].lower() not in names):
        return False
    origins = headers.getlist("origin")
    if origins:
        return all(_is_same_server(origin.partition("://")[2], hosts[0]) for origin in origins)
    opened = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    return opened or headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _is_same_server(asking: str, asked: str) -> bool:
    """Tell whether a page of one address is the server's at the other: `localhost` and 127.0.0.1 are one machine."""
    theirs, ours = _OWN_HOST.fullmatch(asking), _OWN_HOST.fullmatch(asked)
    return asking == asked or (theirs is not None and ours is not None and theirs[2] == ours[2])
