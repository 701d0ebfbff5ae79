"""The papermill engine: what papermill saves with it is what happened."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import papermill
import pytest

from workbench.base.errors import InvalidParameter, NotebookFailed, NotebookRefused
from workbench.notebook.execute import execute_notebook

NOTEBOOKS = Path(__file__).parent.parent / "notebooks_for_tests"


def statuses(target: Path) -> list[str]:
    cells = nbformat.read(target, as_version=4).cells
    return [cell.metadata.papermill.status for cell in cells if cell.cell_type == "code"]


def test_papermill_with_our_engine_completes_a_good_notebook(tmp_path):
    target = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        NOTEBOOKS / "works.ipynb", target, {"times": 2}, engine_name="workbench", progress_bar=False
    )
    assert statuses(target) == ["completed", "completed", "completed", "pending", "completed"]


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "import os; os._exit(0)"])
def test_papermill_with_our_engine_raises_and_saves_the_truth_when_a_cell_leaves(code, tmp_path):
    target = tmp_path / "out.ipynb"
    with pytest.raises(NotebookFailed) as failure:
        papermill.execute_notebook(
            NOTEBOOKS / "runs_code.ipynb", target, {"code": code}, engine_name="workbench", progress_bar=False
        )
    assert failure.value.record["number"] == 4
    assert statuses(target) == ["completed", "completed", "failed", "pending"]


@pytest.mark.parametrize(
    "value",
    ["'\"\\\n\r\t\x00{}%s$`", "\u2028\u202e\ud800😀", [float("inf"), -0.0, 2**2000], {"a": [None, True], "1": 1}],
)
def test_a_hostile_parameter_reaches_the_kernel_byte_identical(value, tmp_path):
    answer = tmp_path / "it's {an} answer"
    parameters = {"value": value, "answer": str(answer)}
    assert execute_notebook(NOTEBOOKS / "gives_back.ipynb", tmp_path / "{out}.ipynb", parameters).completed
    assert json.loads(answer.read_text()) == [type(value).__name__, ascii(value)]


def test_the_saved_notebook_is_strict_json_whatever_the_parameters(tmp_path):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    target = tmp_path / "out.ipynb"
    parameters = {"value": [float("nan"), "\ud800"], "answer": str(tmp_path / "answer")}
    execute_notebook(NOTEBOOKS / "gives_back.ipynb", target, parameters)
    json.loads(target.read_bytes().decode("utf-8"), parse_constant=refuse)


def test_nothing_is_written_when_a_parameter_is_refused(tmp_path):
    target = tmp_path / "out.ipynb"
    with pytest.raises(InvalidParameter):
        execute_notebook(NOTEBOOKS / "works.ipynb", target, {"tmies": 2})
    with pytest.raises(NotebookRefused):
        execute_notebook(NOTEBOOKS / "has_no_parameters_cell.ipynb", target, {"times": 2})
    with pytest.raises(NotebookRefused):
        execute_notebook(NOTEBOOKS / "no_such_notebook.ipynb", target, {})
    assert list(tmp_path.iterdir()) == []
