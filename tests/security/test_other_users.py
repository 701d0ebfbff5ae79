"""Other users of the same machine reach neither the page, nor Prefect, nor the files of a home."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from tests.web.by_hand import Worker
from tests.web.served import Page, served
from workbench.base import logs
from workbench.base.settings import Settings
from workbench.cli.lab_server import lab_root
from workbench.services import prefect
from workbench.services.components import open_log
from workbench.services.daemon import group_folder
from workbench.services.peers import is_ours, owner_of
from workbench.services.service_file import service_folder
from workbench.web.auth import kept_token

pytestmark = pytest.mark.promise("S8", "other users of the machine reach neither page nor Prefect nor files")

NOBODY = 65534
as_somebody_else = pytest.mark.skipif(os.geteuid() != 0, reason="NO ROOT: nobody can be somebody else here")
MAKERS: dict[str, Callable[[Settings], object]] = {
    "logs": lambda own: logs.configure(own),
    "an embedded service": lambda own: service_folder(own.home, "postgres"),
    "the group of `up`": group_folder,
    "a program's log": lambda own: open_log(own.home / "logs" / "page.log").close(),
    "the page's token": lambda own: kept_token(own.home / "web" / "token"),
    "JupyterLab's folder": lab_root,
}


def status(port: int, path: str, user: int, *, hasty: bool = False) -> int:
    """Return the status of an answer to a request of this user's (0: none); the hasty close their end at once."""
    found: list[int] = []

    def ask() -> None:
        ctypes.CDLL(None).setfsuid(user)  # of this thread only: Linux takes a socket's owner from it
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            # Whoever believes such a header takes the request for another machine's.
            headers = f"Host: 127.0.0.1:{port}\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.7"
            connection.sendall(f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
            if hasty:
                connection.shutdown(socket.SHUT_WR)
            words = connection.recv(4096).split()
            found.append(int(words[1]) if words else 0)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return found[0]


@as_somebody_else
@pytest.mark.parametrize("hasty", [False, True])
def test_the_page_answers_its_own_user_only(page: Page, worker: Worker, hasty: bool) -> None:
    run = worker.completed().pipeline_id
    for path in ("/", f"/runs/{run}", "/api/v1/runs", f"/api/v1/runs/{run}/events", "/static/page.js", "/login"):
        assert status(page.port, path, os.geteuid()) == 200
        assert status(page.port, path, NOBODY, hasty=hasty) in (403, 0)


@as_somebody_else
def test_with_a_token_it_is_the_token_that_counts(worker: Worker) -> None:
    token = "a-token-for-several-people"
    settings = worker.settings.model_copy(update={"workbench_web_token": SecretStr(token)})
    with served(settings, worker.engine, worker.actions()) as page:
        assert status(page.port, "/runs", NOBODY) == 303
        assert status(page.port, f"/runs?token={token}", NOBODY) == 303
        assert status(page.port, "/login", NOBODY) == 200


@as_somebody_else
def test_prefect_answers_its_own_user_only(settings: Settings) -> None:
    with prefect.held(settings) as url:
        port = urlsplit(url).port or 0
        assert status(port, "/api/health", os.geteuid()) == 200
        assert status(port, "/api/health", NOBODY) == 403


def has_ipv6_loopback() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_linux_tells_whose_a_connection_is(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if family == socket.AF_INET6 and not has_ipv6_loopback():
        pytest.skip("NO ::1: this machine has no IPv6 loopback")
    with socket.create_server((host, 0), family=family) as server:
        place = server.getsockname()[:2]
        with socket.create_connection(place) as client:
            ends = client.getsockname()[:2], place
            assert owner_of(*ends) == os.geteuid()
            assert is_ours({"client": ends[0], "server": ends[1]})
        assert owner_of(*ends) is None
        assert not is_ours({"client": ends[0], "server": ends[1]})


@pytest.mark.parametrize("client", [None, ("192.0.2.7", 1), ("testclient", 50000)])
def test_what_does_not_come_from_this_machine_is_left_to_the_token(client: tuple[str, int] | None) -> None:
    assert is_ours({"client": client, "server": ("127.0.0.1", 1)})


@pytest.mark.parametrize("maker", MAKERS)
def test_whatever_comes_first_makes_a_home_that_only_its_owner_can_enter(maker: str, tmp_path: Path) -> None:
    home = tmp_path / "above" / "home"
    before, root = os.umask(0o022), logging.getLogger()
    handlers = root.handlers[:]
    try:
        MAKERS[maker](Settings(_env_file=None, workbench_home=home))
    finally:
        os.umask(before)
        root.handlers[:] = handlers
    assert [each.stat().st_mode & 0o077 for each in (home.parent, home)] == [0, 0]


def test_a_home_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    service_folder(tmp_path, "postgres")
    assert tmp_path.stat().st_mode & 0o777 == 0o755
