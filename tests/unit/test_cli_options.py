"""The command line refuses what cannot be run: in one line, with exit code 2, before anything is started or written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.base.errors import InvalidParameter
from workbench.cli.options import asked_for, parameter_options
from workbench.stage.run_parameters import RunParameters

WORKBENCH = str(Path(sys.executable).with_name("workbench"))


def _run(home: Path, *arguments: str, verb: str = "run") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"WORKBENCH_HOME": str(home), "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    command = [WORKBENCH, verb, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--records", "0"], "records"),
        (["--records", "ten"], "records"),
        (["--set", "recrods=5"], "recrods"),
        (["--locale", "xx_XX"], "locale"),
        (["--set", "records"], "records"),
        (["--input-file", "there/is/none.json"], "input_file"),
        (["--input-file", "."], "input_file"),
    ],
)
def test_a_refused_run_says_field_and_reason_in_one_line_and_writes_nothing(
    tmp_path: Path, arguments: list[str], field: str
) -> None:
    home = tmp_path / "home"
    done = _run(home, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"workbench: parameter {field}: ")
    assert len(done.stderr.splitlines()) == 1
    assert not home.exists()


@pytest.mark.parametrize("limit", ["-1", "0", str(2**70)])
def test_runs_refuses_a_limit_that_no_list_has(tmp_path: Path, limit: str) -> None:
    done = _run(tmp_path, "--limit", limit, verb="runs")
    assert done.returncode == 2
    assert "Invalid value for '--limit'" in done.stderr


def test_every_parameter_is_an_option_of_its_name() -> None:
    assert [option.name for option in parameter_options(RunParameters)] == list(RunParameters.model_fields)


def test_an_assignment_wins_over_the_option() -> None:
    assert asked_for({"records": "5", "seed": None}, ["records=7", "locale=de_DE"]).records == 7


def test_an_own_file_is_kept_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a=b.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    assert asked_for({}, ["input_file=a=b.json"]).input_file == str(tmp_path / "a=b.json")


def test_an_assignment_without_equals_sign_is_explained() -> None:
    with pytest.raises(InvalidParameter, match="write it as --set name=value"):
        asked_for({}, ["records"])
