"""The first screen of a report: counts and conservation of its stage, the way to the other stages, folded code."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_lib.artefacts import Manifest
from pipeline_lib.execution.report import render_report
from pipeline_lib.execution.report_summary import head_of, summary_of
from pipeline_lib.parameters import StageName
from tests.unit.test_report import executed

RUN = "20261123t083012_a1b2c3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an ingestion with its manifest."""
    folder = tmp_path / "02_ingest"
    folder.mkdir()
    Manifest(
        pipeline_id=RUN,
        stage=StageName.INGEST,
        parameters={},
        counts={"read": 12_345, "ingested": 12_000, "rejected": 345},
        inputs={},
        artefacts=(),
        details={"conservation": [{"name": "read = <b>x</b>", "left": 12_345, "right": 12_345, "holds": True}]},
        versions={},
    ).write(folder)
    return folder


def test_counts_and_conservation_stand_at_the_top_as_text(folder: Path) -> None:
    html = render_report(executed(parameters={"pipeline_id": RUN}), folder / "report.html").read_text()
    top = html[: html.index("<main>")]
    assert "<dt>Read</dt><dd>12,345</dd>" in top
    assert "✓ read = &lt;b&gt;x&lt;/b&gt;: 12,345" in top


def test_a_report_leads_to_the_other_four_by_files_beside_it(folder: Path) -> None:
    html = render_report(executed(), folder / "report.html").read_text()
    for other in ("01_generate", "03_process", "04_transform", "05_export"):
        assert f'href="../{other}/report.html"' in html
    assert '<b aria-current="page">Ingest</b>' in html


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
