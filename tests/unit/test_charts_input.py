"""Figures of stages 1 and 2 show the counts that are in the files, and stay small."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_lib import charts_input
from pipeline_lib.generate import generate
from pipeline_lib.ingest import ingest
from pipeline_lib.parameters import GenerateParameters, IngestParameters
from workbench.stage.artefacts import StageResult

REFERENCE = "2026-11-23T08:00:00+00:00"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder whose name Polars and Spark would take for a pattern."""
    folder = tmp_path / "of [a-c]{d,e}*?"
    folder.mkdir()
    return folder


@pytest.fixture
def results(tmp_path: Path) -> tuple[StageResult, StageResult]:
    made = generate(GenerateParameters(records=20_000, defect_rate=0.06, reference_time=REFERENCE), tmp_path)
    return made, ingest(IngestParameters(reference_time=REFERENCE), tmp_path / "records.jsonl", tmp_path)


def test_every_figure_counts_every_record_and_stays_small(
    results: tuple[StageResult, StageResult], tmp_path: Path
) -> None:
    made, read = results
    dataset, counts = tmp_path / "dataset.parquet", read.counts
    reasons, repaired = read.details["rejects_by_reason"], read.details["repaired"]
    figures = {
        "values": (charts_input.values_by_category(dataset), "y", counts["ingested"]),
        "rejects": (charts_input.rejects_by_reason(tmp_path), "x", counts["rejected"]),
        "defects": (charts_input.injected_and_found(made.details["defects"], reasons, repaired), "y", 2 * 1_200),
    }
    for name, (figure, axis, expected) in figures.items():
        assert len(figure.to_json()) < 200_000, name
        assert sum(sum(trace[axis]) for trace in figure.data) == expected, name
    assert "every one was found" in figures["defects"][0].layout.title.text


def test_figures_of_a_run_without_rejects_say_so(tmp_path: Path) -> None:
    (tmp_path / "rejects.jsonl").touch()
    assert charts_input.rejects_by_reason(tmp_path).layout.annotations[0].text == "no record was rejected"


def test_a_dataset_of_one_value_or_none_can_be_drawn(tmp_path: Path) -> None:
    parameters = IngestParameters(reference_time=REFERENCE, max_reject_rate=1, allow_empty=True)
    for text, traces in (('{"id":1,"name":"L","category":"A","value":5,"quantity":1}', 1), ('{"id":1}', 0)):
        (tmp_path / "input").write_text(text)
        ingest(parameters, tmp_path / "input", tmp_path)
        assert len(charts_input.values_by_category(tmp_path / "dataset.parquet").data) == traces


def test_counts_that_differ_are_said_to_differ() -> None:
    figure = charts_input.injected_and_found({"malformed": 2}, {"malformed": 1}, {})
    assert "the counts differ" in figure.layout.title.text


def test_of_an_own_input_only_the_defects_found_are_shown() -> None:
    figure = charts_input.injected_and_found({}, {"malformed": 2}, {"name": 1})
    assert figure.layout.title.text == "Defects found"
    assert [list(zip(bar.x, bar.y, strict=True)) for bar in figure.data] == [[("malformed", 2), ("untidy_text", 1)]]


def test_a_run_without_defects_says_so() -> None:
    figure = charts_input.injected_and_found({"malformed": 0}, {}, {"name": 0})
    assert figure.layout.annotations[0].text == "no record had a defect"
