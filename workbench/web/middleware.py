"""Checks each request before the application: address, origin, user, token; adds headers to each answer."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.services.peers import is_ours
from workbench.web.auth import Access
from workbench.web.headers import protect
from workbench.web.problems import API, send_problem

_OPEN = ("/static/", "/api/v1/health", "/login")


@dataclass(frozen=True)
class Gate:
    """Refuses foreign hosts, origins and users (403) and requests without the token (401); gives browsers a session."""

    app: ASGIApp
    access: Access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        refusal = self.access.refusal(connection.headers)
        if self.access.only_ours and not is_ours(scope):
            refusal = "this page belongs to another user, who can give access by WORKBENCH_WEB_TOKEN"
        if refusal is not None:
            await send_problem(scope, receive, _with_headers(send), 403, refusal)
            return
        token = connection.query_params.get("token")
        if token is not None and scope["method"] == "GET" and self.access.is_token(token):
            await self._login(connection)(scope, receive, _with_headers(send))
            return
        known = self.access.session(connection)
        path = scope["path"]
        if not path.startswith(_OPEN) and not self.access.may_read(connection):
            await self._ask_for_token(scope, receive, send)
            return
        is_new = known is None and self.access.reading_is_free and not path.startswith((API, "/static/"))
        session = known or (self.access.new_session() if is_new else "")
        scope["workbench.session"] = session
        await self.app(scope, receive, _with_headers(send, self._cookie(session) if is_new else None))

    async def _ask_for_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(API):
            how = "sign in with the access token: Authorization: Bearer …"
            await send_problem(scope, receive, _with_headers(send, challenge=True), 401, how)
            return
        address = f"/login?{urlencode({'to': scope['path']})}"
        await RedirectResponse(address, 303)(scope, receive, _with_headers(send))

    def _login(self, connection: HTTPConnection) -> RedirectResponse:
        """Turn the token in the address into a cookie and redirect to the address without it."""
        rest = [(name, value) for name, value in parse_qsl(connection.url.query) if name != "token"]
        path = "/" + connection.scope["path"].lstrip("/\\")
        answer = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)
        answer.headers["Set-Cookie"] = self._cookie(self.access.new_session())
        return answer

    def _cookie(self, session: str) -> str:
        return session_cookie(self.access, session)


def session_cookie(access: Access, session: str) -> str:
    """Return a session's `Set-Cookie` header: hidden from scripts, not sent with posts of other sites."""
    return f"{access.cookie}={session}; Path=/; HttpOnly; SameSite=Lax"


def _with_headers(send: Send, cookie: str | None = None, *, challenge: bool = False) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            protect(headers)
            if cookie is not None:
                headers.append("Set-Cookie", cookie)
            if challenge:
                headers["WWW-Authenticate"] = "Bearer"
        await send(message)

    return sending
