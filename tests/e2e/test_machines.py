"""P22: a run on a machine that is set up narrowly: no `localhost` in /etc/hosts, a home that may not hold programs."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.e2e.conftest import RUN_SECONDS, WORKBENCH
from tests.integration.service_watch import supervisors_below, wait_until

pytestmark = pytest.mark.promise("P22", "the shell's environment, the locale, the user and the path change nothing")
NARROW = """
mount --bind /dev/null /etc/hosts
mount -t tmpfs -o noexec none "$WORKBENCH_HOME"
exec "$@"
"""


def _libraries() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("workbench-java-*"))


def _can_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="NO MOUNT NAMESPACE: only root of a whole machine has one")
def test_a_run_completes_without_localhost_and_where_the_home_is_noexec() -> None:
    others = _libraries()
    home = Path(tempfile.mkdtemp(prefix="workbench-test-"))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-euc", NARROW, "sh", WORKBENCH, "run", "--records", "200", "--json"],
        env=os.environ | {"WORKBENCH_HOME": str(home)},
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    run = json.loads(done.stdout)
    assert (run["status"], [stage["attempts"] for stage in run["stages"]]) == ("completed", [1] * 5)
    assert wait_until(lambda: not supervisors_below(home), 20)
    home.rmdir()  # the mount was seen by the run's processes only
    assert _libraries() <= others
