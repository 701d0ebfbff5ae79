"""Where the `workbench` command begins: it makes its process independent of the shell, then runs `workbench.bootstrap`.

Nothing is imported here that a variable such as PYTHONPATH could replace before it is out of the way.
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
    """Open what the shell has closed (`2>&-`) on the null device, so that no file of ours becomes stderr."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)


def _start_anew() -> None:
    """Run this command in a new interpreter that starts without those variables; what it prints keeps its encoding."""
    encoding = os.environ.get("PYTHONIOENCODING") or sys.stdout.encoding
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, passed_on(os.environ) | {"PYTHONIOENCODING": encoding})


def _widen_limits() -> None:
    """Allow as many open files as we may have, within reason, and never hide from this user what it writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    os.umask(os.umask(0o077) & 0o077)


if __name__ == "__main__":
    main()
