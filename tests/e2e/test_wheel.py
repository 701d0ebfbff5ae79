"""The wheel holds the engine alone, and its command runs a project in any folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from workbench.base.settings import PROJECT

ORCHARD = PROJECT / "tests" / "tiny_pipeline"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout; a loud skip where its build tool cannot be had."""
    folder = tmp_path_factory.mktemp("wheel")
    tool = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder / "tool"),
        "hatchling",
    ]
    if subprocess.run(tool, check=False).returncode:
        pytest.skip("NO INDEX OF PACKAGES: the wheel cannot be built without hatchling")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(PROJECT)]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's `workbench` in an environment of its own, which takes all other packages from the tests' own."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    (packages / "tests_own.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "workbench"


def test_the_wheel_holds_the_engine_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        assert {name.partition("/")[0].partition("-")[0] for name in opened.namelist()} == {
            "workbench",
            "notebook_workbench",
        }


def test_its_command_runs_and_resumes_a_project_in_another_folder(
    command: Path, tmp_path: Path, database_url: str
) -> None:
    project, home = tmp_path / "orchard", tmp_path / "home"
    shutil.copytree(ORCHARD, project, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "WORKBENCH_PROJECT"}
    environment |= {"WORKBENCH_HOME": str(home), "DATABASE_URL": database_url}

    def workbench(*arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [command, *arguments, "--json"], cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    where = [command.with_name("python"), "-c", "import workbench; print(workbench.__file__)"]
    engine = Path(subprocess.run(where, cwd=project, capture_output=True, text=True, check=True).stdout.strip())
    assert engine.is_relative_to(command.parents[1])
    failed = workbench("run", "--set", f"fail_until=press={tmp_path / 'failed'}", code=1)
    assert [stage["status"] for stage in failed["stages"]] == ["completed", "failed", "pending"]
    resumed = workbench("resume", failed["pipeline_id"])
    assert [stage["status"] for stage in resumed["stages"]] == ["reused", "completed", "completed"]
    assert Path(resumed["output_file"]).is_relative_to(home)
    assert all(Path(report).is_file() for report in workbench("show")["reports"])
    assert [run["pipeline_id"] for run in workbench("runs")] == [failed["pipeline_id"]]
