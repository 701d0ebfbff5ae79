"""What a stage's code consists of, as the fingerprint of its result sees it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench.base.settings import NOTEBOOKS, PROJECT
from workbench.run import fingerprint
from workbench.run.fingerprint import Code, files_behind
from workbench.stage.pipeline import STAGE_NAMES, STAGES, stage_named
from workbench.stage.run_parameters import RunParameters

GENERATE = stage_named("generate")
IMPORT = "from pipeline_lib.generate import generate"


@pytest.mark.parametrize("cell", [IMPORT, f"%time {IMPORT}", f"!ls\n{IMPORT}", f"%matplotlib inline\n{IMPORT}\n?x"])
def test_magics_hide_no_module_and_cost_no_stage(tmp_path: Path, cell: str) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell(cell)]), tmp_path / GENERATE.notebook)
    modules = {str(path.relative_to(PROJECT)) for path in files_behind(GENERATE, tmp_path) if path.suffix == ".py"}
    expected = set() if cell.startswith("%time") else {"pipeline_lib/generate.py"}
    assert expected <= modules
    assert set(Code.as_it_is(tmp_path).fingerprint(GENERATE, RunParameters(), {})) == {
        "code", "parameters", "inputs", "environment",
    }  # fmt: skip


def test_a_cell_that_is_no_python_at_all_hides_only_itself(tmp_path: Path) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell("def ("), new_code_cell(IMPORT)]), tmp_path / GENERATE.notebook)
    assert PROJECT / "pipeline_lib" / "generate.py" in files_behind(GENERATE, tmp_path)


def stages_behind(module: str) -> list[str]:
    return [stage.name for stage in STAGES if PROJECT / module in files_behind(stage, NOTEBOOKS)]


def test_a_module_of_the_project_counts_for_the_stages_that_import_it_and_no_others() -> None:
    assert stages_behind("pipeline_lib/process.py") == ["process"]
    assert stages_behind("pipeline_lib/parameters.py") == STAGE_NAMES


def test_the_engines_own_running_of_stages_counts_for_none() -> None:
    assert stages_behind("workbench/state/relay.py") == []
    assert stages_behind("workbench/run/stage_runner.py") == []
    assert stages_behind("workbench/stage/artefacts.py") == STAGE_NAMES


def test_every_file_behind_a_stage_is_hashed_before_the_run_begins() -> None:
    known = Code.as_it_is(NOTEBOOKS).hashes
    assert all(file in known for stage in STAGES for file in files_behind(stage, NOTEBOOKS))


def test_modules_that_import_each_other_by_relative_names_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "PROJECT", tmp_path)
    orchard = tmp_path / "orchard"
    (orchard / "deep").mkdir(parents=True)
    for name, source in {
        "__init__.py": "", "tree.py": "from .deep import root", "deep/__init__.py": "",
        "deep/root.py": "from .. import leaf", "leaf.py": "", "unused.py": "",
    }.items():  # fmt: skip
        (orchard / name).write_text(source)
    nbformat.write(new_notebook(cells=[new_code_cell("from orchard import tree")]), tmp_path / GENERATE.notebook)
    behind = {str(path.relative_to(orchard)) for path in files_behind(GENERATE, tmp_path) if path.suffix == ".py"}
    assert behind == {"__init__.py", "tree.py", "deep/__init__.py", "deep/root.py", "leaf.py"}
