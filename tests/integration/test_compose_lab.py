"""The command of docker-compose.yml that starts JupyterLab really starts it, and its health check finds it healthy."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import yaml

from workbench.base.settings import PROJECT
from workbench.services.processes import free_port

SERVICE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text("utf-8"))["services"]["jupyterlab"]
INSIDE = int(SERVICE["ports"][0].rpartition(":")[2])
PATIENCE = 120.0


def environment_of_service(home: Path, port: int, token: str) -> dict[str, str]:
    """Return the service's environment, in the image's PATH; the home and the port are those of this test."""
    given = {name: re.sub(r"\$\{JUPYTER_TOKEN[^}]*\}", token, value) for name, value in SERVICE["environment"].items()}
    given = {name: re.sub(r"\$\{\w+(:\?|:-)([^}]*)\}", "not-used-here", value) for name, value in given.items()}
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home), "JUPYTER_PORT": str(port)}
    return given | own | {"WORKBENCH_HOME": str(home)}


def is_healthy(port: int) -> bool:
    """Run the service's health check, on the port of this test."""
    program, *arguments = SERVICE["healthcheck"]["test"][1:]
    command = [sys.executable if program == "python" else program, *arguments]
    moved = [word.replace(f":{INSIDE}/", f":{port}/") for word in command]
    return subprocess.run(moved, capture_output=True, check=False, timeout=30).returncode == 0


def status_of(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_jupyterlab_of_the_compose_file_starts_listens_for_the_published_port_and_keeps_its_token(
    tmp_path: Path,
) -> None:
    port, token = free_port(), secrets.token_hex(16)
    with (tmp_path / "log").open("wb") as log:
        environment = environment_of_service(tmp_path / "home", port, token)
        lab = subprocess.Popen(SERVICE["command"], env=environment, cwd=PROJECT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_healthy(port):
            assert lab.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        listening = [each.laddr for each in psutil.Process(lab.pid).net_connections("tcp") if each.status == "LISTEN"]
        assert ("0.0.0.0", port) in listening
        assert status_of(f"http://127.0.0.1:{port}/api/contents") == 403
        assert status_of(f"http://127.0.0.1:{port}/api/contents?token={token}") == 200
    finally:
        lab.terminate()
        lab.wait(60)
