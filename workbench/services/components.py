"""The components of `workbench up`: the embedded services, held, and programs of our own, each a child process.

Adding a component means adding a line to `services_of` or `PROGRAMS`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from workbench.base.environment import passed_on
from workbench.base.settings import PROJECT, Settings
from workbench.services import parent_death, postgres, prefect, readiness, spark
from workbench.services.log_files import open_log
from workbench.services.service_file import has_supervisor, read_live_state

_ENTRY = "workbench.bootstrap"


@dataclass
class HeldService:
    """A service that runs as long as it is held. `folder` is None for an external one."""

    name: str
    hold: Callable[[], AbstractContextManager[str]]
    folder: Path | None
    address: str = ""
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def pid(self) -> int | None:
        state = read_live_state(self.folder) if self.folder else None
        return state.service if state else None

    @property
    def log(self) -> str:
        return str(self.folder / "log") if self.folder else ""

    def start(self) -> None:
        """Join it, or start it; returns when it is ready, raises `ServiceUnavailable`."""
        url = self._held.enter_context(self.hold())
        self.address = url.removesuffix("/api") if self.name == "prefect" else ""  # others may hold a secret

    def is_alive(self) -> bool:
        """Return whether its supervisor runs, which restarts the service or ends with it."""
        return self.folder is None or (self.folder.is_dir() and has_supervisor(self.folder))

    def is_ready(self) -> bool:
        return self.folder is None or self.pid is not None

    def request_stop(self) -> None:
        """Stop holding it."""
        self._held.close()

    def await_stop(self) -> None:
        """Return at once: its supervisor stops it after its last user."""


@dataclass(frozen=True)
class Program:
    """A command of `workbench`. One that `ends_last` is stopped after the others have ended."""

    name: str
    command: Sequence[str]
    stop_seconds: float = 8.0
    ends_last: bool = False
    wanted: Callable[[Settings], bool] = lambda _settings: True
    address: Callable[[Settings], str] = lambda _settings: ""


def _page_address(settings: Settings) -> str:
    host = settings.workbench_web_host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.workbench_web_port}/"


PROGRAMS = (
    Program("relay", ["relay"], ends_last=True, wanted=lambda settings: settings.amqp_url is not None),
    Program("worker", ["worker"], stop_seconds=25.0),
    Program("page", ["web"], address=_page_address),
)


class Child:
    """A program as a child process in its own process group; it gets SIGTERM when its parent dies."""

    def __init__(self, program: Program, settings: Settings, folder: Path) -> None:
        self.program = program
        self.name = program.name
        self.address = program.address(settings)
        self.log = str(settings.home / "logs" / f"{program.name}.log")
        self._ready_file = folder / f"{program.name}.ready"
        self._environment = {"WORKBENCH_HOME": str(settings.home), readiness.VARIABLE: str(self._ready_file)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self.is_alive() else None

    def start(self) -> None:
        """Start it and return at once. The child gets SIGTERM when the calling thread ends."""
        self._ready_file.unlink(missing_ok=True)
        command = parent_death.command(os.getpid(), _ENTRY, *self.program.command)
        with open_log(Path(self.log)) as log:
            self._process = subprocess.Popen(
                command,
                env=passed_on(os.environ) | self._environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        """Return whether it has reported that it is ready."""
        return self._process is not None and readiness.is_ready(self._ready_file, self._process.pid)

    def request_stop(self) -> None:
        if self._process is not None and self.is_alive():
            self._process.send_signal(signal.SIGTERM)

    def await_stop(self) -> None:
        """Wait for its end for `stop_seconds`, then kill it and its process group."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self.program.stop_seconds)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


Component = HeldService | Child


def services_of(settings: Settings) -> list[HeldService]:
    """Return the services, embedded where no setting names another."""
    services = settings.home / "services"
    return [
        HeldService(
            "postgres",
            lambda: postgres.held(settings),
            None if settings.database_url else services / "postgres",
        ),
        HeldService(
            "prefect",
            lambda: prefect.held(settings, full=True),
            None if settings.prefect_api_url else services / "prefect-full",
        ),
        HeldService("spark", lambda: spark.held(settings), None if settings.spark_remote else services / "spark"),
    ]


def children_of(settings: Settings, folder: Path) -> list[Child]:
    """Return the programs that these settings need, not yet started."""
    return [Child(program, settings, folder) for program in PROGRAMS if program.wanted(settings)]
