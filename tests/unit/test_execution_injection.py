"""Parameters into notebooks: exactly, or not at all."""

from __future__ import annotations

import datetime
import math
import shutil
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

from workbench.base.errors import InvalidParameter, NotebookRefused
from workbench.base.settings import NOTEBOOKS
from workbench.notebook.injection import check_notebooks, inject, literal, prepared

SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())
VALUES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
)
HOSTILE = [
    '"',
    "'",
    "\\",
    '\\"',
    "'''\"\"\"",
    "\n",
    "\r\n",
    "\x00",
    "{}",
    "{pm}",
    "%s",
    "\u2028",
    "\ud800",
    "\u202e",
    "😀",
    "",
]


def _kind(value: object) -> str:
    return type(value).__name__


def notebook(parameters: str = "value = None\nother: int = 1  # help", tags: tuple[str, ...] = ("parameters",)):
    cells = [new_code_cell(parameters, metadata={"tags": list(tags)}), new_code_cell("value")]
    return prepared(new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}))


def injected(value: object) -> object:
    cell = inject(notebook(), {"value": value}).cells[1]
    assert cell.metadata.tags == ["injected-parameters"]
    names: dict[str, object] = {}
    exec(cell.source, names)
    return names["value"]


@given(VALUES)
def test_a_value_comes_out_as_it_went_in(value):
    source = literal(value)
    assert source.isprintable()
    back = eval(source, {"float": float})
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_comes_out_as_it_went_in(text):
    assert injected(text * 3) == text * 3


@pytest.mark.parametrize("number", [math.inf, -math.inf, 2**4000, -0.0, 1e-320], ids=_kind)
def test_uncommon_numbers_come_out_as_they_went_in(number):
    assert repr(injected(number)) == repr(number)


def test_nan_stays_nan():
    assert math.isnan(injected(math.nan))


@pytest.mark.parametrize(
    "value", [(1, 2), {1}, b"bytes", datetime.date(2026, 1, 1), object(), [(1,)], 10**5000], ids=_kind
)
def test_what_cannot_be_written_exactly_is_refused(value):
    with pytest.raises(InvalidParameter) as refusal:
        inject(notebook(), {"value": value})
    assert refusal.value.field == "value"


def test_a_name_the_notebook_does_not_have_is_refused():
    with pytest.raises(InvalidParameter, match=r"valeu.*it has: value, other"):
        inject(notebook(), {"valeu": 1})


@pytest.mark.parametrize(
    "broken",
    [
        notebook(tags=()),
        prepared(new_notebook(cells=[new_code_cell("a = 1", metadata={"tags": ["parameters"]}) for _ in range(2)])),
        notebook(parameters="this is not Python at all"),
    ],
    ids=["none", "two", "no Python"],
)
def test_a_notebook_without_one_parameters_cell_is_refused(broken):
    with pytest.raises(NotebookRefused):
        inject(broken, {"value": 1})


def test_the_injected_cell_follows_the_parameters_cell_and_leaves_it_alone():
    executed = inject(notebook(), {"other": 7})
    assert [cell.source for cell in executed.cells] == [
        "value = None\nother: int = 1  # help",
        "# Parameters\nother = 7",
        "value",
    ]
    nbformat.validate(executed)


def test_the_projects_own_notebooks_take_what_their_stages_give() -> None:
    check_notebooks(NOTEBOOKS)


def test_a_stages_notebook_that_cannot_be_run_is_refused_by_its_path(tmp_path: Path) -> None:
    shutil.copytree(NOTEBOOKS, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    transform = tmp_path / "04_transform.ipynb"
    whole = transform.read_text()
    for content, words in (
        (whole.replace("dbt_threads: int", "threads: int"), "its parameters cell lacks dbt_threads"),
        (whole.replace('"parameters"', '"other"'), "exactly one code cell tagged 'parameters'"),
        (whole[:-100], "cannot be read as a notebook"),
    ):
        transform.write_text(content)
        with pytest.raises(NotebookRefused, match=words) as refusal:
            check_notebooks(tmp_path)
        assert str(refusal.value).count(str(transform)) == 1
    transform.unlink()
    with pytest.raises(NotebookRefused, match=r"04_transform\.ipynb: cannot be read"):
        check_notebooks(tmp_path)
