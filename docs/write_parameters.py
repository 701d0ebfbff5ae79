"""Writes docs/parameters.md from the parameter models: `make docs`. A test compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from workbench.stage.parameter_types import StageParameters
from workbench.stage.run_parameters import STAGE_PARAMETERS, RunParameters

PAGE = Path(__file__).with_name("parameters.md")
_HEAD = """\
# Parameters

What a person may choose about a run. This page is written from the models in `pipeline_lib/parameters.py` by
`make docs`; change them, not it.

On the command line a parameter is an option (`defect_rate` is `--defect-rate`), or `--set defect_rate=0.05`, which
wins. A name that does not exist, or a value that does not fit, is refused with field and reason before anything
starts: exit code 2, no run record. Where things are and which secrets open them are settings, not parameters: see
[components](components.md).
"""
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "max_length": "characters, at most"}


def document() -> str:
    """Return the whole page as Markdown."""
    known = {name for model in STAGE_PARAMETERS.values() for name in model.model_fields}
    parts = [_HEAD]
    for stage, model in STAGE_PARAMETERS.items():
        parts.append("\n".join([f"## {stage.capitalize()}", "", *_table(model, set(model.model_fields))]) + "\n")
    own = set(RunParameters.model_fields) - known
    parts.append("\n".join(["## The run as a whole", "", *_table(RunParameters, own)]) + "\n")
    return "\n".join(parts)


def _table(model: type[StageParameters], names: set[str]) -> Iterator[str]:
    yield "| parameter | type | default | allowed | meaning |"
    yield "|---|---|---|---|---|"
    for name, field in model.model_fields.items():
        if name in names:
            default = "empty" if field.default == "" else f"`{field.default}`"
            cells = (f"`{name}`", _kind(field.annotation), default, _allowed(field), field.description)
            yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _kind(annotation: Any) -> str:
    return "one of" if get_origin(annotation) is Literal else str(annotation.__name__)


def _allowed(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    found = [
        f"{words} {getattr(rule, name):,}"
        for rule in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]
    found += [f"matches `{rule.pattern}`" for rule in field.metadata if getattr(rule, "pattern", None)]
    return "; ".join(found)


if __name__ == "__main__":
    PAGE.write_text(document(), "utf-8")
