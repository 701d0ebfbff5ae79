"""Every notebook is a test case: its parameters cell equals the models, it is short, and it is stored clean."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workbench.base.settings import NOTEBOOKS
from workbench.stage.parameter_types import StageParameters
from workbench.stage.pipeline import STAGES, Stage
from workbench.stage.run_parameters import STAGE_PARAMETERS

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def check_parameters_cell(path: Path, model: type[StageParameters]) -> None:
    """Assert that the notebook's parameters are the model's: names, types, defaults and descriptions."""
    tagged = [cell.source for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    lines = tagged[0].splitlines()
    written = {}
    for line, each in zip(lines, ast.parse(tagged[0]).body, strict=True):
        assert isinstance(each, ast.AnnAssign)
        assert each.value is not None
        described = line.partition("  # ")[2]
        written[ast.unparse(each.target)] = ast.unparse(each.annotation), ast.literal_eval(each.value), described
    written.pop("pipeline_id")
    assert written == {
        name: (type(field.default).__name__, field.default, field.description)
        for name, field in model.model_fields.items()
    }


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.notebook)
def test_the_parameters_cell_repeats_the_model(stage: Stage) -> None:
    check_parameters_cell(NOTEBOOKS / stage.notebook, STAGE_PARAMETERS[stage.name])


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs_and_with_ids_of_its_own(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(path))
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_notebook_tells_more_than_it_computes(path: Path) -> None:
    for cell in code_cells(path):
        if "parameters" in cell.metadata.get("tags", []):
            continue
        assert len(cell.source.splitlines()) <= 15
        tree = ast.walk(ast.parse(cell.source))
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree)
    assert 8 <= len(nbformat.read(path, as_version=4).cells) <= 20


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_headless_run_skips_every_widget(path: Path) -> None:
    widgets = ("control_panel", "run_chooser", "runs_chooser", "generation_preview", "threshold_tryout")
    for cell in code_cells(path):
        if any(f"import {name}" in cell.source for name in widgets):
            assert cell.metadata["tags"] == ["skip-execution"]
