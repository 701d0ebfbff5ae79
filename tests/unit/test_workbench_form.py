"""The form of the control panel: made from the models, refusing in place, never changing what nobody touched."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets
import pytest

from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.tryouts import generation_preview
from workbench.jupyter.widgets import ParameterForm, grouped, run_form, two_digits
from workbench.stage.run_parameters import RunParameters

HERE = {"records": 10, "seed": 1}


def slider_of(form: ParameterForm, name: str) -> widgets.Widget:
    line = form.fields[name].row.children[0]
    return next(each for each in line.children if isinstance(each, widgets.FloatLogSlider | widgets.FloatSlider))


def test_every_parameter_has_an_input_that_shows_its_default() -> None:
    form = run_form()
    assert form.checked() == RunParameters()
    assert sorted(name for own in grouped(list(form.fields)).values() for name in own) == sorted(form.fields)


def test_an_input_says_unit_words_and_bounds_of_its_parameter() -> None:
    hint = run_form().fields["records"].row.children[0].children[-1].value
    assert all(text in hint for text in ("records", "how many records to make", "1 to 100,000,000"))


@pytest.mark.parametrize(("name", "value"), [("records", 0), ("locale", "english"), ("defect_rate", 1.5)])
def test_what_is_refused_is_said_at_its_own_input_and_nowhere_else(name: str, value: object) -> None:
    form = run_form()
    form.fields[name].entry.value = value
    assert form.checked() is None
    assert [each for each in form.fields if form.fields[each].problem.value] == [name]
    form.fields[name].entry.value = RunParameters.model_fields[name].default
    assert form.checked() == RunParameters()
    assert form.fields[name].problem.value == ""


def test_a_file_that_cannot_be_read_is_refused_at_its_input(tmp_path: Path) -> None:
    form = run_form()
    form.fields["input_file"].entry.value = str(tmp_path / "none.json")
    assert form.checked() is None
    assert "no such file" in form.fields["input_file"].problem.value


def test_the_records_slider_moves_through_powers_of_ten_and_the_field_follows() -> None:
    form = run_form()
    slider_of(form, "records").value = 54_321.0
    assert form.checked().records == 54_000


def test_the_field_takes_what_lies_beyond_the_slider() -> None:
    form = run_form()
    form.fields["records"].entry.value = 100_000_000
    assert form.checked().records == 100_000_000
    assert slider_of(form, "records").value == 10_000


@pytest.mark.parametrize("name", ["records", "stage_timeout", "defect_rate", "max_reject_rate"])
def test_a_slider_that_snaps_to_its_own_steps_changes_no_parameter(name: str) -> None:
    form = ParameterForm(RunParameters, {"records": 12_345, "defect_rate": 0.0123})
    before = form.fields[name].value
    slider = slider_of(form, name)
    slider.value = slider.value * (1.05 if isinstance(slider, widgets.FloatLogSlider) else 1) + (
        0.002 if isinstance(slider, widgets.FloatSlider) else 0
    )
    assert form.fields[name].value == before


@pytest.mark.parametrize(("value", "rounded"), [(1, 1), (12_345, 12_000), (99_999, 100_000), (7.4, 7), (149, 150)])
def test_a_place_on_the_slider_means_two_digits(value: float, rounded: int) -> None:
    assert two_digits(value) == rounded


def test_the_preview_of_stage_1_sets_the_variables_of_its_notebook_once_they_are_right() -> None:
    namespace = {**HERE}
    rows = generation_preview(namespace).children[0].children
    entry = rows[0].children[0].children[-2]
    assert namespace == {**GenerateParameters().model_dump(exclude={"distributed_threshold", "reference_time"}), **HERE}
    entry.value = -1
    assert namespace["records"] == 10
    entry.value = 20
    assert namespace["records"] == 20
