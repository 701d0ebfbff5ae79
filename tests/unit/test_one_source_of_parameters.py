"""A parameter is written once: put into a copy of the models, it is in everything that is made from them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import nbformat
import pytest
import typer
from prefect import flow
from pydantic import Field
from typer.testing import CliRunner

from pipeline_lib.parameters import GenerateParameters
from tests.unit.test_notebooks import check_parameters_cell
from workbench.base.settings import NOTEBOOKS
from workbench.cli.options import parameter_options
from workbench.jupyter.widgets import run_form
from workbench.prefect.deployment import form
from workbench.prefect.flow_signature import with_fields_of
from workbench.stage.run_parameters import RunParameters
from workbench.web.run_form import form_groups

WORDS = "how many pieces a record may be cut into"
Pieces = Annotated[int, Field(ge=1, le=9, description=WORDS)]


class WiderGenerateParameters(GenerateParameters):
    """Stage 1's parameters and one more."""

    pieces: Pieces = 3


class WiderRunParameters(RunParameters):
    """A run's parameters and one more."""

    pieces: Pieces = 3


def test_it_is_in_the_form_of_the_control_panel_with_its_words_bounds_and_refusal() -> None:
    panel = run_form(WiderRunParameters)
    field = panel.fields["pieces"]
    assert (field.value, panel.checked()) == (3, WiderRunParameters())
    assert f"{WORDS} · 1 to 9" in field.row.children[0].children[-1].value
    field.entry.value = 10
    assert "less than or equal to 9" in field.problem.value


def test_it_is_an_option_of_the_command_line_with_its_words_and_default() -> None:
    def run(**given: str | None) -> None: ...

    options = parameter_options(WiderRunParameters)
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    app = typer.Typer()
    app.command()(run)
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    line = next(line for line in told.splitlines() if "--pieces" in line)
    assert WORDS in line
    assert "(default: 3)" in line


def test_it_is_in_the_schema_from_which_prefect_makes_its_form() -> None:
    @flow
    @with_fields_of(WiderRunParameters)
    def wider(pipeline_id: str = "", **given: object) -> None: ...

    schema = form(wider, WiderRunParameters)["properties"]["pieces"]
    assert (schema["default"], schema["minimum"], schema["maximum"], schema["description"]) == (3, 1, 9, WORDS)


def test_it_is_in_the_form_of_the_page() -> None:
    groups = form_groups(WiderRunParameters, {}, {})
    field = next(field for group in groups for field in group.fields if field.name == "pieces")
    assert (field.value, field.least, field.most) == ("3", "1", "9")
    assert WORDS in field.help


def test_a_notebook_has_it_in_its_parameters_cell_or_is_found_out(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS / "01_generate.ipynb", as_version=4)
    copy = tmp_path / "01_generate.ipynb"
    with pytest.raises(AssertionError, match="pieces"):
        check_parameters_cell(NOTEBOOKS / "01_generate.ipynb", WiderGenerateParameters)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += f"\npieces: int = 3  # {WORDS}"
    nbformat.write(notebook, copy)
    check_parameters_cell(copy, WiderGenerateParameters)
    assert WiderGenerateParameters.from_variables({"pieces": 4, "other": 1}).pieces == 4
