"""What a stage's code consists of, as the fingerprint of its result sees it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench.base.settings import PROJECT
from workbench.run.fingerprint import Code, files_behind
from workbench.stage.pipeline import stage_named
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
