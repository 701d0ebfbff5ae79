"""`pipeline.toml`: what it may say, and what is refused with file, place and reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.base.errors import InvalidPipeline
from workbench.base.settings import NOTEBOOKS, PROJECT
from workbench.stage.condition import checked_condition, holds
from workbench.stage.pipeline import FILE, PIPELINE, STAGE_NAMES, Pipeline
from workbench.stage.run_parameters import RunParameters
from workbench.state.events import EventType

STAGE = '[[stage]]\nname = "generate"\ntitle = "Generate"\nnotebook = "a.ipynb"\nparameters_model = "a:B"\n'
HEAD = 'name = "demo"\n'


def read(folder: Path, text: str) -> Pipeline:
    (folder / FILE).write_text(text)
    return Pipeline.read(folder / FILE)


def test_the_projects_own_declaration_names_what_is_there() -> None:
    assert [stage.name for stage in PIPELINE.stages] == STAGE_NAMES
    for stage in PIPELINE.stages:
        assert (NOTEBOOKS / stage.notebook).is_file()
        assert all((PROJECT / folder).is_dir() for folder in stage.code)
        assert not stage.announce or EventType(stage.announce)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD, "stage: Field required"),
        (HEAD + STAGE + "colour = 3\n", "stage 1 colour: there is no such key"),
        (HEAD + STAGE + STAGE, "stage generate is declared twice"),
        (HEAD + STAGE + 'counts = ["a", "a"]\n', "count a is declared twice"),
        (HEAD + STAGE + 'when = "open(records)"\n', "stage 1 when: 'open(records)': Call is not allowed"),
        (HEAD + STAGE + 'when = "records >"\n', "stage 1 when: 'records >': invalid syntax"),
        (HEAD + 'conserve = ["a = b"]\n' + STAGE + 'counts = ["a"]\n', "conserve, a = b: no stage counts b"),
        (HEAD + 'conserve = ["a"]\n' + STAGE, "'a' is not an equation; write for example: read = ingested + rejected"),
        (HEAD + "name = 2", "Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_place(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidPipeline) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / FILE))
    assert told in str(refused.value)


def test_a_file_that_is_missing_is_told() -> None:
    with pytest.raises(InvalidPipeline, match="No such file"):
        Pipeline.read(Path("/nowhere") / FILE)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", True),
        ("not own", True),
        ("records > limit", False),
        ("records * 2 > limit and not own", True),
        ("0 < records <= 10", True),
        ("kind in ['a', 'b']", True),
        ("-records < 0 or 1 / 0", True),
    ],
)
def test_conditions_are_comparisons_and_arithmetic(condition: str, expected: bool) -> None:
    values = {"records": 10, "limit": 15, "own": "", "kind": "b"}
    assert holds(condition and checked_condition(condition), values) is expected


@pytest.mark.parametrize("text", ["a.b", "a[0]", "f()", "lambda: 1", "[x for x in a]", "a if b else c", "(a := 1)"])
def test_whatever_else_python_can_say_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not allowed"):
        checked_condition(text)


def test_a_run_with_an_own_file_begins_with_the_second_stage() -> None:
    own, generated = RunParameters(input_file="/data/a.json"), RunParameters()
    assert [PIPELINE.first(each).name for each in (own, generated)] == ["ingest", "generate"]
    before = [PIPELINE.input_of("ingest", each) for each in (own, generated)]
    assert [stage and stage.name for stage in before] == [None, "generate"]


def test_spark_is_needed_where_the_declaration_says() -> None:
    few, many = RunParameters(records=10), RunParameters(records=10, distributed_threshold=5)
    needing = [[stage.name for stage in PIPELINE.stages if stage.needs("spark", each)] for each in (few, many)]
    assert needing == [["process"], ["generate", "process"]]


def test_a_snapshot_is_the_whole_declaration_whatever_order_the_database_gives_its_keys() -> None:
    unordered = json.loads(json.dumps(PIPELINE.snapshot, sort_keys=True))
    assert Pipeline.of_snapshot(unordered) == PIPELINE
    assert list(Pipeline.of_snapshot(unordered).key_figures) == list(PIPELINE.figures)
    assert PIPELINE.difference_to(PIPELINE) == ""
