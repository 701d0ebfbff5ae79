"""The entry point of the `workbench` command: makes its process independent of the shell, then runs `bootstrap`.

Before variables such as PYTHONPATH are removed, nothing is imported that they could replace.
"""

from __future__ import annotations

import os
import resource
import sys

from workbench.base.environment import is_read_at_start, passed_on, put_project_on_path
from workbench.base.errors import WorkbenchError

_OPEN_FILES = 65_536


def main() -> None:
    """Run the `workbench` command."""
    open_closed_streams()
    if is_read_at_start(os.environ) or sys.getfilesystemencoding() != "utf-8":
        _start_anew()
    clean = passed_on(os.environ)
    os.environ.clear()
    os.environ.update(clean)
    _widen_limits()
    put_project_on_path()
    try:
        from workbench.bootstrap import main as run_command
    except WorkbenchError as error:  # of pipeline.toml
        print(f"workbench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    run_command()


def open_closed_streams() -> None:
    """Open what the shell has closed (`2>&-`) on the null device, so that no file opened later becomes stderr."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)


def _start_anew() -> None:
    """Run this command in a new interpreter without those variables; its output keeps its encoding."""
    encoding = os.environ.get("PYTHONIOENCODING") or sys.stdout.encoding
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, passed_on(os.environ) | {"PYTHONIOENCODING": encoding})


def _widen_limits() -> None:
    """Raise the limit of open files up to 65,536, and keep what this process writes readable for its user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    os.umask(os.umask(0o077) & 0o077)


if __name__ == "__main__":
    main()
