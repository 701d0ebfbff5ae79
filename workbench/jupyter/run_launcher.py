"""Starts runs from a notebook as processes of their own: the same command, the same run, the same tables.

A run started here is `workbench run` in a session of its own. It outlives the kernel and JupyterLab, it cannot block
either, and there is one way to run a pipeline, not two. It is found in the tables by the key it was started with.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workbench.base.durable_files import private_folder
from workbench.base.environment import passed_on
from workbench.base.settings import Settings
from workbench.stage.run_parameters import RunParameters

STARTED_BY = "WORKBENCH_STARTED_BY"
_COMMAND = Path(sys.executable).with_name("workbench")
_LAST_BYTES = 4_000
_COLOURS = {"FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PY_COLORS"}


@dataclass(frozen=True)
class Launch:
    """One `workbench` process, the key of the run it creates, and the file that takes what it says on stderr."""

    process: subprocess.Popen[bytes]
    words: IO[bytes]
    key: str

    @property
    def exit_code(self) -> int | None:
        """The process's exit code, None while it lives."""
        return self.process.poll()

    def last_words(self) -> str:
        """Return the last line it has written for people, for a process that ended before there was a run."""
        file = self.words.fileno()  # the process writes where this file's position is, so that must stay
        said = os.pread(file, _LAST_BYTES, max(0, os.fstat(file).st_size - _LAST_BYTES))
        lines = said.decode("utf-8", "replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith("workbench: ")), lines[-1] if lines else "")

    def interrupt(self) -> None:
        """Ask the process to end, as Ctrl-C does."""
        if self.exit_code is None:
            self.process.send_signal(signal.SIGINT)


def start(parameters: RunParameters, settings: Settings) -> Launch:
    """Start `workbench run` with what differs from the defaults."""
    defaults = type(parameters)()
    chosen = {name: value for name, value in parameters.model_dump().items() if value != getattr(defaults, name)}
    assignments = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    return _launch(["run", *assignments], settings)


def resume(pipeline_id: str, settings: Settings) -> Launch:
    """Start `workbench resume` on a run that has ended."""
    return _launch(["resume", pipeline_id], settings)


def _launch(arguments: list[str], settings: Settings) -> Launch:
    key = str(uuid.uuid4())
    words = tempfile.TemporaryFile()  # noqa: SIM115  without a name: it goes with the last process that has it open
    process = subprocess.Popen(
        [_COMMAND, *arguments],
        env=_environment(key, settings),
        cwd=private_folder(settings.home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=words,
        start_new_session=True,
    )
    return Launch(process, words, key)


def _environment(key: str, settings: Settings) -> Mapping[str, str]:
    """Return this kernel's environment; it asks for colours, which have no place in a file."""
    inherited = {name: value for name, value in passed_on(os.environ).items() if name not in _COLOURS}
    return {**inherited, "WORKBENCH_HOME": str(settings.home), STARTED_BY: f"panel:{key}"}
