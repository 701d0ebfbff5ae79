"""A RabbitMQ node of our own: a fault in it harms nobody else's tests."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pika
from pika.exceptions import AMQPError

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_START_SECONDS = 120.0
_RESTART = """
Once = fun(_) -> rabbit:stop(), timer:sleep({down}), rabbit:start(), timer:sleep({up}) end,
lists:foreach(Once, lists:seq(1, {times})).
"""


@dataclass(frozen=True)
class Broker:
    """One node: its AMQP port, and the environment in which its programs find it."""

    port: int
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    @property
    def parameters(self) -> pika.ConnectionParameters:
        """How a relay connects: bounded in time, and a blocked connection is noticed."""
        found = pika.URLParameters(self.url)
        found.blocked_connection_timeout = 2
        found.socket_timeout = found.stack_timeout = 5
        return found

    def control(self, *arguments: str) -> str:
        """Call rabbitmqctl; returns what it prints."""
        command = [PROGRAMS / "rabbitmqctl", "--quiet", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def restart(self, times: int, down_ms: int = 200, up_ms: int = 700) -> None:
        """Stop and start the broker so many times; connections break, durable queues and messages stay."""
        self.control("eval", _RESTART.format(times=times, down=down_ms, up=up_ms).strip())

    @contextmanager
    def starved(self) -> Iterator[None]:
        """Let the broker be short of memory while the block lasts."""
        self.set_memory_alarm(True)
        try:
            yield
        finally:
            self.set_memory_alarm(False)

    def blocked_connections(self) -> int:
        """Return how many publishers the broker keeps waiting."""
        return self.control("list_connections", "state").split().count("blocked")

    def set_memory_alarm(self, on: bool) -> None:
        """Raise or clear the memory alarm: under it the broker takes nothing from publishers."""
        self.control("set_vm_memory_high_watermark", "0" if on else "0.9")


def is_installed() -> bool:
    return (PROGRAMS / "rabbitmq-server").exists()


@contextmanager
def running_broker() -> Iterator[Broker]:
    """Run a node on ports of its own, loopback only, for the block; nothing of it stays."""
    folder = Path(tempfile.mkdtemp(prefix="wb-broker-"))
    ports = {name: _free_port() for name in ("node", "distribution", "epmd")}
    broker = Broker(ports["node"], _environment(folder, ports))
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{broker.port}\n")
    (folder / "plugins").write_text("[].\n")
    with (folder / "output").open("wb") as output:
        node = subprocess.Popen(
            [PROGRAMS / "rabbitmq-server"], env=broker.environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _await(broker, node, folder / "output")
        yield broker
    finally:
        node.terminate()
        node.wait(30)
        subprocess.run(["epmd", "-kill"], env=broker.environment, capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "RABBITMQ_NODENAME": f"wb{secrets.token_hex(4)}@localhost",
        "RABBITMQ_DIST_PORT": str(ports["distribution"]),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def _await(broker: Broker, node: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert node.poll() is None, output.read_text(errors="replace")
        with suppress(AMQPError, OSError):
            pika.BlockingConnection(broker.parameters).close()
            return
        time.sleep(0.3)
    raise AssertionError(f"no broker after {_START_SECONDS:g} s: {output.read_text(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
