"""P22: a home that starts cold is the same in every shell and at every path. Nothing is shared with other tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import RUN_SECONDS, WORKBENCH, Workbench
from tests.e2e.hostile_shell import hostile_shell
from tests.e2e.test_pinned_data import ARGUMENTS, PINNED, exported
from tests.integration.service_watch import supervisors_below, wait_until
from workbench.services.processes import free_port
from workbench.stage.artefacts import Manifest, RunFolder, sha256_of

pytestmark = pytest.mark.promise("P22", "the shell's environment, the locale, the user and the path change nothing")
SHELLS: dict[str, Callable[[Path], dict[str, str]]] = {
    "own": lambda _folder: dict(os.environ),
    "foreign": lambda folder: dict(os.environ) | hostile_shell(folder),
    "cron": lambda _folder: {"PATH": "/usr/bin:/bin"},
}

# Characters that separate, quote, escape or match in URLs, lists of folders, patterns, shells and configuration files.
HARD_TO_QUOTE = "a b#c%41[d]{e},f'g\"h?i*j&k;l$m\\no=p~q@r!ü"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of its own, outside pytest's folder, which PostgreSQL's user cannot always pass through."""
    home = Path(tempfile.mkdtemp(prefix="workbench-test-"))
    yield home
    assert wait_until(lambda: not supervisors_below(home), 20)
    shutil.rmtree(home)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_command_of_a_home_answers_in_every_shell(shell: str, home: Path, tmp_path: Path) -> None:
    environment = SHELLS[shell](tmp_path / "of somebody else") | {"WORKBENCH_HOME": str(home)}
    assert answer_of("runs", environment=environment) == []


def test_a_run_makes_the_same_data_in_a_foreign_shell(home: Path, tmp_path: Path) -> None:
    environment = SHELLS["foreign"](tmp_path / "of somebody else") | {"WORKBENCH_HOME": str(home)}
    run = answer_of("run", *ARGUMENTS, environment=environment)
    folder = RunFolder(home, run["pipeline_id"])
    files = [name for name in PINNED if (folder.path / name).is_file()]
    found = {name: sha256_of(folder.path / name) for name in files}
    assert found | {"exported data": exported(Path(run["output_file"]))} == {
        name: PINNED[name] for name in (*files, "exported data")
    }
    assert Manifest.read(folder.stage("transform")).details["tests"] != []
    assert [stage["attempts"] for stage in run["stages"]] == [1] * 5


def test_up_and_a_run_work_in_a_home_that_is_hard_to_quote(home: Path) -> None:
    here = {"WORKBENCH_HOME": str(home / HARD_TO_QUOTE), "WORKBENCH_WEB_PORT": str(free_port())}
    workbench = Workbench(here)
    up = workbench("up")
    assert up.returncode == 0, up.stderr
    try:
        run = answer_of("run", "--records", "200", environment=os.environ | here)
    finally:
        down = workbench("down")
    assert (run["status"], [stage["attempts"] for stage in run["stages"]]) == ("completed", [1] * 5)
    assert down.returncode == 0, down.stderr


def answer_of(*command: str, environment: dict[str, str]) -> Any:
    """Return the document that a command gives in this environment and no other."""
    done = subprocess.run(
        [WORKBENCH, *command, "--json"], env=environment, capture_output=True, timeout=RUN_SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return json.loads(done.stdout)
