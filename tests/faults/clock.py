"""A PostgreSQL of its own whose clock a test can set, as an administrator or a time server may (libfaketime)."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.bench import until
from workbench.services import postgres_server, processes

_LIBRARIES = "usr/lib/*/faketime/libfaketime.so.1"


@dataclass(frozen=True)
class DatabaseClock:
    """The clock of the server at `url`. The file holds by how much it differs from the machine's."""

    url: str
    file: Path

    def set_to(self, seconds: int) -> None:
        """Let the clock jump: from now on it differs from the machine's by so many seconds."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.chmod(0o644)
        new.replace(self.file)


@contextmanager
def database_with_own_clock() -> Iterator[DatabaseClock]:
    """Run the embedded PostgreSQL under a clock of its own while the block lasts; a loud skip without libfaketime."""
    library = next(iter(Path("/").glob(_LIBRARIES)), None)
    if library is None:
        pytest.skip("NO LIBFAKETIME: jumps of the database's clock are not tried; `make services` installs it")
    with tempfile.TemporaryDirectory(prefix="wbc", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "clock"
        service = postgres_server.prepare(Path(folder))
        clock = DatabaseClock(service.url, file)
        clock.set_to(0)
        jumps = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}
        environment = {**service.environment, **jumps, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        server = processes.start_child(service.command, environment, service.folder, service.user, signal.SIGQUIT)
        try:
            until(service.is_ready, "the server with its own clock is ready", 60)
            yield clock
        finally:
            os.kill(server.pid, signal.SIGQUIT)
            server.wait(30)
            service.clean_up()
