"""The page as a real server on a free port, for tests: `with served(settings, engine, actions) as page: …`."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from workbench.base.settings import Settings
from workbench.web.app import create_app
from workbench.web.dependencies import Actions


@dataclass(frozen=True)
class Page:
    """A page that is up: where, and with which token."""

    port: int
    token: str
    app: FastAPI

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx.Client:
        """Return a client without the token."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def entitled(self, **headers: str) -> httpx.Client:
        """Return a client of the API with the token."""
        return self.client(Authorization=f"Bearer {self.token}", **headers)


@contextmanager
def served(settings: Settings, engine: Engine, actions: Actions, port: int = 0) -> Iterator[Page]:
    """Serve the page for the block, on a free port unless one is named."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        port = listening.getsockname()[1]
        app = create_app(settings.model_copy(update={"workbench_web_port": port}), engine, actions)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="page", daemon=True)
        thread.start()
        try:
            _await_start(server, app)
            yield Page(port, app.state.context.access.token, app)
        finally:
            server.should_exit = True
            thread.join()


def _await_start(server: uvicorn.Server, app: FastAPI) -> None:
    deadline = time.monotonic() + 30
    while not (server.started and app.state.context.live.connected.is_set()):
        assert time.monotonic() < deadline, "the page did not start"
        time.sleep(0.01)


def form_token(html: str) -> str:
    """Return the form token of a page."""
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', html)
    assert found is not None
    return found[1]
