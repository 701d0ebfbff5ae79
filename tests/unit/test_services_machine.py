"""A machine on which an embedded service cannot run is told so in one line, before anything starts."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.base.environment import passed_on
from workbench.base.errors import InvalidSetting
from workbench.base.settings import PROJECT, Settings
from workbench.kernels.spark_sessions import spark_access
from workbench.services import postgres

pytestmark = pytest.mark.promise("P22", "the shell's environment, the locale, the user and the path change nothing")
UNKNOWN_USER = 54_321
WITHOUT_EXEC = """
for folder in "$1" /tmp /var/tmp; do mount -t tmpfs -o noexec none "$folder"; done
exec "$2" -c 'import sys; from pathlib import Path; from workbench.services.machine_requirements import check_libraries
check_libraries(Path(sys.argv[1]) / "not yet made", "Spark", "SPARK_REMOTE")' "$1"
"""


def _raised_in_child(first: Callable[[], None], call: Callable[[], object]) -> str:
    """Return what `call` raises, or else returns, in a child process that calls `first` before it."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            first()
            said = str(call())
        except BaseException as error:  # noqa: BLE001 - the child tells it and ends
            said = f"{type(error).__name__} {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as pipe:
        return pipe.read()


def _as_unknown_user() -> None:
    os.setuid(UNKNOWN_USER)


def _with_few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_that_the_system_does_not_know_is_refused_by_the_embedded_servers(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path)
    for reach, setting in ((postgres.held, "DATABASE_URL"), (spark_access, "SPARK_REMOTE")):
        said = _raised_in_child(_as_unknown_user, reach(settings).__enter__)
        assert said.startswith(f"{InvalidSetting.__name__} {setting}: is not set, and the embedded ")
        assert f"user id {UNKNOWN_USER} has no entry in /etc/passwd; add one, or" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_that_the_system_does_not_know_gets_a_name_and_a_home() -> None:
    shown = _raised_in_child(_as_unknown_user, lambda: sorted(passed_on({"PATH": "/bin", "HOME": ""}).items()))
    assert all(pair in shown for pair in ("('HOME', '/')", "('LOGNAME', 'workbench')", "('USER', 'workbench')"))


def test_too_few_open_files_are_refused_before_spark_starts(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path)
    said = _raised_in_child(_with_few_files, spark_access(settings).__enter__)
    assert said.startswith("InvalidSetting SPARK_REMOTE: is not set, and the embedded Spark needs 1,024 open files, ")
    assert list(tmp_path.iterdir()) == []


def _can_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="NO MOUNT NAMESPACE: only root of a whole machine has one")
@pytest.mark.skipif(
    any(PROJECT.is_relative_to(folder) for folder in ("/tmp", "/var/tmp")),
    reason="THE PROJECT LIES AMONG TEMPORARY FILES: its own interpreter could not be executed",
)
def test_a_machine_that_lets_no_temporary_file_be_executed_is_refused(tmp_path: Path) -> None:
    command = ["unshare", "-m", "sh", "-euc", WITHOUT_EXEC, "sh", tmp_path, sys.executable]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()[-1]
    assert "InvalidSetting: SPARK_REMOTE: is not set, and the embedded Spark needs a folder that may hold" in said
    assert f"mounted with noexec: {tmp_path}/not yet made, /tmp, /var/tmp; set TMPDIR to another, or" in said
