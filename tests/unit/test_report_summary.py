"""The first screen of a report: counts and conservation of its stage, the way to the other stages, folded code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.test_report import executed
from workbench.notebook.report import head_of, render_report, summary_of
from workbench.notebook.report_contents import renew_contents
from workbench.run.completion import begin_attempt
from workbench.stage.artefacts import Manifest, RunFolder

REPORTED = ("generate", "ingest", "export")
RUN = "20261123t083012_a1b2c3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an ingestion with its manifest."""
    folder = RunFolder(tmp_path, RUN).stage("ingest")
    folder.mkdir(parents=True)
    Manifest(
        pipeline_id=RUN,
        stage="ingest",
        parameters={},
        counts={"read": 12_345, "ingested": 12_000, "rejected": 345},
        inputs={},
        artefacts=(),
        details={"conservation": [{"name": "read = <b>x</b>", "left": 12_345, "right": 12_345, "holds": True}]},
        versions={},
    ).write(folder)
    return folder


def links(report: Path) -> list[str]:
    return re.findall(r'href="(\.\./[^"]*)"', report.read_text())


def test_counts_and_conservation_stand_at_the_top_as_text(folder: Path) -> None:
    html = render_report(executed(parameters={"pipeline_id": RUN}), folder / "report.html").read_text()
    top = html[: html.index("<main>")]
    assert "<dt>Read</dt><dd>12,345</dd>" in top
    assert "✓ read = &lt;b&gt;x&lt;/b&gt;: 12,345" in top


def test_a_report_leads_to_those_of_the_others_that_have_one_and_to_no_other(folder: Path) -> None:
    other = folder.parent / "01_generate"
    other.mkdir()
    render_report(executed(), other / "report.html")
    html = render_report(executed(), folder / "report.html").read_text()
    assert links(folder / "report.html") == ["../01_generate/report.html"]
    assert '<b aria-current="page">Ingest</b>' in html
    assert '<span title="It has left no report">Export</span>' in html


def test_once_the_run_has_ended_earlier_reports_lead_to_later_ones_and_to_the_newest_attempt(folder: Path) -> None:
    run = RunFolder(folder.parent.parent.parent, RUN)
    first = render_report(executed(), run.stage("ingest") / "report.html")
    second = render_report(executed(), run.stage("ingest") / "report.attempt-2.html")
    render_report(executed(), run.stage("process") / "report.html")
    before = first.read_text()
    renew_contents(run)
    assert links(first) == ["../02_ingest/report.attempt-2.html", "../03_process/report.html"]
    assert links(second) == ["../03_process/report.html"]
    assert before.partition("</nav>")[2] == first.read_text().partition("</nav>")[2]


@pytest.mark.promise("P20", "a report of an earlier attempt says that it is one")
def test_reports_of_an_earlier_attempt_and_of_the_stages_after_it_say_so(folder: Path) -> None:
    run = RunFolder(folder.parent.parent.parent, RUN)
    reports = {
        stage: render_report(executed(), folder.parent / run.stage(stage).name / "report.html") for stage in REPORTED
    }
    whole = {stage: report.read_text() for stage, report in reports.items()}
    for _ in range(2):  # by the next attempt, too, each says so once
        begin_attempt(run, "ingest")
    renew_contents(run)
    renewed = render_report(executed(), folder / "report.attempt-2.html").read_text()
    line = "Earlier attempt: stage Ingest was begun again at "
    assert [line in report.read_text() for report in reports.values()] == [False, True, True]
    assert line not in renewed
    for stage in REPORTED[1:]:
        text = reports[stage].read_text()
        assert text.count("<aside") == 1
        assert text.index("<aside") < text.index("<h1>")
        assert text.partition("<header")[2] == whole[stage].partition("<header")[2]


def test_the_command_that_opens_the_stage_is_told(folder: Path) -> None:
    assert summary_of(folder / "report.html", RUN).command == f"workbench open {RUN} ingest"


def test_without_a_manifest_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "03_process").mkdir()
    summary = summary_of(tmp_path / "03_process" / "report.html", RUN)
    assert (summary.counts, summary.conservation) == ((), ())
    assert len(summary.contents) == 5


@pytest.mark.parametrize(
    ("source", "head"),
    [
        ("from a import (\n    b,\n)\n\nb(1)", "b(1)"),
        ("# Parameters\nrecords = 10", "records = 10"),
        ("import a", "import a"),
        ("a(\n  1)\nb()", "a("),
        ("%time f(x)", "%time f(x)"),
    ],
)
def test_a_folded_cell_is_known_by_the_first_line_that_does_something(source: str, head: str) -> None:
    assert head_of(source) == head
