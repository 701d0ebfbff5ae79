"""The project is found from the working directory, or named; the command needs one, its help does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.base.environment import ENGINE, find_project

DECLARATION = """name = "other"
[[stage]]
name = "only"
title = "Only"
notebook = "only.ipynb"
parameters_model = "others_library:Only"
"""
LIBRARY = """from workbench.stage.parameter_types import StageParameters


class Only(StageParameters):
    trees: int = 7
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.toml").write_text(DECLARATION)
    (tmp_path / "others_library.py").write_text(LIBRARY)
    (tmp_path / "deep" / "down").mkdir(parents=True)
    return tmp_path


def workbench(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this folder."""
    command = [sys.executable, "-m", "workbench.command", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | more, capture_output=True, text=True, check=False)


def test_the_nearest_declaration_above_the_working_directory_counts(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "deep" / "down")
    assert find_project({}) == project
    (project / "deep" / "pipeline.toml").write_text(DECLARATION)
    assert find_project({}) == project / "deep"


def test_a_named_project_counts_wherever_the_command_is_called(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert find_project({"WORKBENCH_PROJECT": str(project)}) == project
    assert find_project({}) == ENGINE


@pytest.mark.skipif(os.geteuid() != 0, reason="ONLY ROOT MAY GIVE A FILE AWAY")
def test_a_declaration_of_another_user_is_not_taken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(project / "pipeline.toml", 12_345, -1)
    monkeypatch.chdir(project)
    assert find_project({}) == ENGINE


def test_a_working_directory_that_is_gone_leaves_the_checkout(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = project / "deep" / "down"
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_project({}) == ENGINE


def test_the_command_takes_parameters_from_the_project_it_is_called_in(project: Path) -> None:
    assert "--trees" in workbench("run", "--help", folder=project / "deep").stdout


def test_without_a_declaration_the_named_project_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = workbench("runs", folder=tmp_path, WORKBENCH_PROJECT=str(tmp_path))
    assert refused.returncode == 2
    assert refused.stderr == (
        f"workbench: WORKBENCH_PROJECT: there is no pipeline.toml in {tmp_path}; name the folder that holds it\n"
    )
    assert workbench("--help", folder=tmp_path, WORKBENCH_PROJECT=str(tmp_path)).returncode == 0


def test_a_declaration_that_cannot_be_read_is_refused_in_one_line(project: Path) -> None:
    (project / "pipeline.toml").write_text("name = ")
    refused = workbench("runs", folder=project)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"workbench: {project}/pipeline.toml: ")
