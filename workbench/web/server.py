"""Serves the page until SIGINT or SIGTERM."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from sqlalchemy import Engine

from workbench.base.credentials import is_loopback
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.web.app import create_app
from workbench.web.auth import in_address
from workbench.web.dependencies import Actions

_STOP_SECONDS = 5


def serve(settings: Settings, engine: Engine, actions: Actions, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is called with the address once it answers there.

    Raises `InvalidSetting` for an address that others can reach without a token, `ServiceUnavailable` for a taken one.
    """
    host, port = settings.workbench_web_host.strip("[]"), settings.workbench_web_port
    if not is_loopback(host) and settings.workbench_web_token is None:
        raise InvalidSetting(f"WORKBENCH_WEB_HOST: {host} can be reached by others; set WORKBENCH_WEB_TOKEN as well")
    app = create_app(settings, engine, actions)
    with _bound(host, port) as listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        _Announcing(config, lambda: on_ready(f"http://{in_address(host)}:{port}/")).run([listening])


class _Announcing(uvicorn.Server):
    """Calls back when it has started."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


def _bound(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises `ServiceUnavailable`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServiceUnavailable(f"page at {host}: {error.strerror or error}; fix WORKBENCH_WEB_HOST") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(256)
    except OSError as error:
        listening.close()
        reason = f"{(error.strerror or str(error)).lower()}; choose another WORKBENCH_WEB_PORT"
        raise ServiceUnavailable(f"page at {host}:{port}: {reason}") from error
    return listening
