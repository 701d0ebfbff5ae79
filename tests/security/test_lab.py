"""JupyterLab runs whatever code it is sent: so it is for whoever has its token, on this machine, and nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import WORKBENCH
from tests.integration.service_watch import LOOPBACK, listening_addresses
from workbench.base.settings import PROJECT
from workbench.services.processes import free_port

pytestmark = pytest.mark.promise("S9", "JupyterLab keeps its token, and its kernels have no port")

PATIENCE = 120.0
RUNS_CODE = [("POST", "/api/kernels"), ("POST", "/api/terminals"), ("PUT", "/api/contents/opened/x.ipynb")]
READS = [("GET", path) for path in ("/api/contents", "/api/kernels", "/api/sessions", "/files/notebooks", "/lab")]


@dataclass(frozen=True)
class Lab:
    """A JupyterLab as `workbench lab` starts it: where, its process, and the token that it made for itself."""

    port: int
    process: psutil.Process
    token: str
    note: Path

    def asked(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """Return status and place it leads to of a request with these headers."""
        sent = {"Host": f"127.0.0.1:{self.port}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body="{}" if method != "GET" else None, headers=sent)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Location") or ""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    runtime, port = folder / "runtime", free_port()
    environment = {**os.environ, "WORKBENCH_HOME": str(folder / "home"), "JUPYTER_RUNTIME_DIR": str(runtime)}
    environment.pop("JUPYTER_TOKEN", None)
    with (folder / "log").open("wb") as log:
        command = [WORKBENCH, "lab", "--no-browser", f"--ServerApp.port={port}"]
        server = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=log, stderr=log)
    try:
        note, deadline = runtime / f"jpserver-{server.pid}.json", time.monotonic() + PATIENCE
        while not note.exists() or not note.read_text():
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "JupyterLab did not start"
            time.sleep(0.1)
        yield Lab(port, psutil.Process(server.pid), json.loads(note.read_text())["token"], note)
    finally:
        server.terminate()
        server.wait(60)


def test_it_makes_a_token_that_cannot_be_guessed_and_only_its_owner_can_read(lab: Lab) -> None:
    assert len(lab.token) >= 48
    assert lab.note.stat().st_mode & 0o077 == 0
    assert not [word for word in lab.process.cmdline() if lab.token in word]


def test_no_command_line_of_a_browser_holds_it(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    code = "import sys; from workbench.cli.commands_lab import show_in_browser; show_in_browser(sys.argv[1])"
    address = f"http://127.0.0.1:{lab.port}/lab/tree/opened/x.ipynb"
    subprocess.run([sys.executable, "-c", code, f"{address}?token={lab.token}"], check=True)
    assert (tmp_path / "asked").read_text() == f"{address}\n"


@pytest.mark.parametrize(("method", "path"), READS + RUNS_CODE)
@pytest.mark.parametrize("authorization", [None, "token wrong", "Bearer wrong", "token "])
def test_without_it_nothing_is_shown_and_nothing_is_run(
    lab: Lab, method: str, path: str, authorization: str | None
) -> None:
    status, place = lab.asked(method, path, **({"Authorization": authorization} if authorization else {}))
    assert status == 403 or (status == 302 and place.startswith("/login"))


def test_with_it_a_kernel_starts_and_no_socket_of_it_can_be_reached_from_elsewhere(lab: Lab) -> None:
    assert lab.asked("GET", "/api/contents", Authorization=f"token {lab.token}")[0] == 200
    assert lab.asked("POST", "/api/kernels", Authorization=f"token {lab.token}")[0] == 201
    deadline = time.monotonic() + PATIENCE
    while not (kernels := lab.process.children(recursive=True)):
        assert time.monotonic() < deadline, "no kernel"
        time.sleep(0.1)
    assert listening_addresses([lab.process, *kernels]) <= LOOPBACK
    assert listening_addresses([lab.process]) == {"127.0.0.1"}
    assert listening_addresses(kernels) == set()


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example", "192.0.2.1"])
def test_a_name_that_somebody_else_lets_lead_here_is_refused_even_with_it(lab: Lab, host: str) -> None:
    headers = {"Host": f"{host}:{lab.port}", "Authorization": f"token {lab.token}"}
    assert lab.asked("GET", "/api/contents", **headers)[0] == 403


def test_a_websocket_of_a_foreign_page_is_refused(lab: Lab) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Origin": "http://attacker.example"}
    assert lab.asked("GET", "/api/events/subscribe", **headers)[0] == 403
