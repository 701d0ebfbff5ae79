"""The `workbench` command begins the same whatever the shell has closed, limited or set for Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKBENCH = Path(sys.executable).with_name("workbench")
pytestmark = pytest.mark.promise("P22", "the shell's environment, the locale, the user and the path change nothing")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_ends_no_command(closed: str) -> None:
    assert subprocess.run(["/bin/sh", "-c", f"'{WORKBENCH}' --help {closed}"], check=False).returncode == 0


def test_what_stays_open_gets_the_output() -> None:
    done = subprocess.run(["/bin/sh", "-c", f"'{WORKBENCH}' --help 2>&-"], capture_output=True, check=True)
    assert b"Usage: workbench" in done.stdout


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONWARNINGS"])
def test_variables_of_python_end_no_command(name: str, tmp_path: Path) -> None:
    for package in ("flows", "typer"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('of somebody else')\n")
    value = {"PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error"}[name]
    done = subprocess.run([WORKBENCH, "--help"], env=os.environ | {name: value}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_more_open_files_are_allowed_where_the_system_lets_us() -> None:
    show = "import resource; from workbench.command import _widen_limits; _widen_limits();"
    show += "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    command = f'ulimit -S -n 256; exec "{sys.executable}" -c "{show}"'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 256
