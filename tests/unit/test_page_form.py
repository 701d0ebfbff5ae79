"""The page's form offers each parameter by the control that fits it, as the models' JSON schema describes it."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.stage.run_parameters import RunParameters
from workbench.web.run_form import FormField, form_groups

FIELDS = {field.name: field for group in form_groups(RunParameters, {}, {}) for field in group.fields}
SCHEMA: dict[str, dict[str, Any]] = RunParameters.model_json_schema()["properties"]
KINDS = {"integer": "number", "number": "number", "boolean": "switch", "string": "text"}


def test_the_form_as_it_is_offered_means_the_defaults() -> None:
    assert RunParameters.checked({name: field.value for name, field in FIELDS.items()}) == RunParameters()


@pytest.mark.parametrize("name", SCHEMA)
def test_a_parameter_has_the_control_bounds_and_words_of_its_model(name: str) -> None:
    field, described = FIELDS[name], SCHEMA[name]
    assert field.kind == ("choice" if "enum" in described else KINDS[described["type"]])
    assert list(field.choices) == described.get("enum", [])
    assert field.step == {"integer": "1", "number": "any"}.get(described["type"], "")
    assert described["description"] in field.help
    assert _number(field.least) == described.get("minimum")
    assert _number(field.most) == described.get("maximum", described.get("maxLength"))


def _number(text: str) -> float | None:
    return float(text) if text else None


def test_what_was_given_stays_in_the_form_with_the_reason_of_its_refusal() -> None:
    shown: dict[str, FormField] = {
        field.name: field
        for group in form_groups(RunParameters, {"reuse": "true", "records": "0"}, {"records": "too few"})
        for field in group.fields
    }
    assert (shown["reuse"].value, shown["records"].value, shown["records"].problem) == ("true", "0", "too few")
