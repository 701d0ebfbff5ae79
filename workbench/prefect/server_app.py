"""Prefect's server as the workbench starts it: requests of foreign web pages and of other users are refused.

Prefect by itself answers every origin (its CORS setting allows all), reads bodies without a content type as JSON, and
ignores `Host`. Any page in a browser of this machine, and any other user of it, could so have a worker run any code.
Here the requested address must be of loopback, the request must come from a program or from a page of that very
address, and the connection must be our own user's. docs/adr/0013 says why this is not Prefect's password.
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
_REFUSED = "requests from other pages or other users are refused, and so are addresses outside of loopback\n"


def create_app() -> FastAPI:
    """Return Prefect's application behind the checks."""
    from prefect.server.api.server import create_app as create_prefect

    app = create_prefect()
    app.add_middleware(OwnPagesOnly, names=frozenset(filter(None, os.environ.get(NAMES, "").lower().split(","))))
    return app


@dataclass(frozen=True)
class OwnPagesOnly:
    """Refuses requests and websockets of foreign pages and other users (403)."""

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
    """Return whether a request is for a loopback address (any port: tunnels) or name, and not from a foreign page."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or (_OWN_HOST.fullmatch(hosts[0]) is None and hosts[0].lower() not in names):
        return False
    origins = headers.getlist("origin")
    if origins:
        return all(_is_same_server(origin.partition("://")[2], hosts[0]) for origin in origins)
    opened = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    return opened or headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _is_same_server(asking: str, asked: str) -> bool:
    """Return whether two addresses are of the same server: `localhost` and 127.0.0.1 are one machine."""
    theirs, ours = _OWN_HOST.fullmatch(asking), _OWN_HOST.fullmatch(asked)
    return asking == asked or (theirs is not None and ours is not None and theirs[2] == ours[2])
