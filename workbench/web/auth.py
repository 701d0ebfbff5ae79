"""Access to the page: known addresses only, a token where one is set, and a form token for each change.

A foreign page in the same browser can send requests here, so the requested address (`Host`) and the requesting page
(`Origin`, `Sec-Fetch-Site`) are checked before anything else, on pages, API and event streams alike.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from workbench.base.durable_files import keep, kept, private_folder
from workbench.base.settings import SHORTEST_TOKEN, Settings
from workbench.services import file_locks

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HTTP_PORT = 80  # browsers leave it out
_SESSION_BYTES = 16
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Access:
    """What is checked about a request. `token` gives full access; sessions and form tokens are derived from it.

    `only_ours`: no token is set and no proxy is in front of the page, so connections of other users of this machine
    are refused.
    """

    token: str
    port: int
    names: frozenset[str]
    reading_is_free: bool
    only_ours: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Take the token from the settings, else the one stored in this home, made if needed and private."""
        given = settings.workbench_web_token
        port = settings.workbench_web_port
        names = {f"{in_address(name)}:{port}" for name in (*_LOOPBACK, settings.workbench_web_host)}
        further = {name.strip().lower() for name in settings.workbench_web_names.split(",") if name.strip()}
        token = given.get_secret_value().strip() if given else kept_token(settings.home / "web" / "token")
        return cls(token, port, frozenset(names | further), given is None, only_ours=given is None and not further)

    @cached_property
    def cookie(self) -> str:
        """Return the cookie's name, which holds the port: browsers send cookies to every port of a host."""
        return f"workbench_{self.port}"

    def refusal(self, headers: Headers) -> str | None:
        """Return why a request with these headers is refused whatever it asks for, or None."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_name(hosts[0], "http"):
            return "this is not an address of this page; see WORKBENCH_WEB_NAMES"
        origins = headers.getlist("origin")
        if any(not self._is_own(origin) for origin in origins):
            return "requests from other pages are refused"
        foreign = headers.get("sec-fetch-site", "") == "cross-site"
        if foreign and headers.get("sec-fetch-mode") != "navigate":
            return "requests from other pages are refused"
        return None

    def _is_own(self, origin: str) -> bool:
        scheme, _, name = origin.partition("://")
        return scheme in ("http", "https") and self._is_name(name, scheme)

    def _is_name(self, name: str, scheme: str) -> bool:
        name = name.lower()
        return name in self.names or (scheme == "http" and f"{name}:{_HTTP_PORT}" in self.names)

    def has_token(self, connection: HTTPConnection) -> bool:
        """Return whether the request carries the token as `Authorization: Bearer …`."""
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def is_token(self, given: str) -> bool:
        """Compare in constant time; an empty token is never right."""
        return bool(self.token) and hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def may_read(self, connection: HTTPConnection) -> bool:
        """Return whether the request may read."""
        return self.reading_is_free or self.session(connection) is not None or self.has_token(connection)

    def session(self, connection: HTTPConnection) -> str | None:
        """Return the request's session if its signature is ours, else None."""
        value = connection.cookies.get(self.cookie, "")
        return value if hmac.compare_digest(self._signed(value.partition(".")[0]).encode(), value.encode()) else None

    def new_session(self) -> str:
        """Return the cookie of a new session: a random name and our signature on it."""
        return self._signed(secrets.token_hex(_SESSION_BYTES))

    def form_token(self, session: str) -> str:
        """Return the token that a form of this session must send; foreign pages cannot know it."""
        return self._mac(f"form {session}")

    def is_form_token(self, connection: HTTPConnection, given: str) -> bool:
        session = self.session(connection)
        if session is None:
            return False
        return hmac.compare_digest(self.form_token(session).encode(), given.encode("utf-8", "replace"))

    def _signed(self, name: str) -> str:
        return f"{name}.{self._mac(f'session {name}')}"

    def _mac(self, text: str) -> str:
        return hmac.new(self.token.encode(), text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def kept_token(path: Path) -> str:
    """Return the token stored in this file, made if none can be read; processes that start together agree on one."""
    private_folder(path.parent)
    with file_locks.locked(path.with_name(f"{path.name}.lock"), file_locks.EXCLUSIVE, _LOCK_SECONDS):
        token = kept(path, _token)
        if token is None:
            token = secrets.token_urlsafe(32)
            keep(path, token.encode())
    return token


def _token(content: bytes) -> str:
    """Return the token in a file; raises `ValueError` for other content, such as the zeros of a power loss."""
    token = content.decode("ascii").strip()
    if len(token) < SHORTEST_TOKEN or not token.isprintable():
        raise ValueError(f"no token of {SHORTEST_TOKEN} characters or more")
    return token


def in_address(host: str) -> str:
    """Return a host as browsers write it in an address: in small letters, an IPv6 address short and in brackets."""
    host = host.strip("[]").lower()
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return f"[{address}]" if address.version == 6 else str(address)
