"""Promise P15 through the whole chain: what goes in comes out equal or is rejected, whatever it looks like."""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import pandas
import plotly.graph_objects as go
import psycopg2
import pyarrow.parquet as pq
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page, sync_playwright
from psycopg2 import sql

from pipeline_lib.export import export
from tests import hostile
from tests.conftest import fresh_database
from tests.e2e.conftest import Workbench
from workbench.base.settings import Settings
from workbench.charts.theme import as_label, horizontal_bars
from workbench.data.output_formats import Output
from workbench.notebook.report import render_report
from workbench.notebook.report_outputs import PLOTLY_MIME
from workbench.services import prefect
from workbench.services import spark as spark_service
from workbench.stage.artefacts import RunFolder, schema_of

pytestmark = pytest.mark.promise("P15", "every input record is accounted for: it comes out equal, or it is rejected")
RECORDS = hostile.records()
LINES = [*map(hostile.as_line, RECORDS[:-1]), *hostile.BROKEN, hostile.as_line(RECORDS[-1])]
FIRST_BROKEN = len(RECORDS)
FILE_NAME = 'it\'s {pm} "own" $HOME `id` %s ;--\\ <b>😀名 שלום #?&=.jsonl'
FORMULA = re.compile("[\t\r\n]|[\\s\ufeff\u200b\u202e]*[-=+@＝＋－＠−]")
ALL_FIELDS = list(hostile.expected(RECORDS[0]))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: `make services` installs it")


@dataclass(frozen=True)
class Passage:
    """One run that hostile input has gone through."""

    document: dict[str, Any]
    database_url: str
    source: Path
    folder: RunFolder

    def exported(self, kind: str, compression: str, target: Path) -> bytes:
        """Export the run's mart once more in another form."""
        output = Output(self.folder.pipeline_id, datetime.now(UTC), kind, compression)
        result = export(self.database_url, output, target)
        assert result.counts == {"exported": len(RECORDS)}
        return (target / output.file_name).read_bytes()


@pytest.fixture(scope="module")
def passage(settings: Settings, server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    source = tmp_path_factory.mktemp("hostile") / FILE_NAME
    source.write_bytes(hostile.as_file(LINES))
    with fresh_database(server_url) as url, prefect.held(settings), spark_service.held(settings):
        workbench = Workbench({"WORKBENCH_HOME": str(settings.home), "DATABASE_URL": url})
        options = ("--input-file", str(source), "--max-reject-rate", "0.5", "--reference-time", hostile.REFERENCE)
        document = workbench.json("run", *options)
        yield Passage(document, url, source, RunFolder(settings.home, document["pipeline_id"]))


@pytest.fixture
def long_cells() -> Iterator[None]:
    """The CSV reader of Python takes cells up to 128 KiB unless told otherwise."""
    usual = csv.field_size_limit(100_000_000)
    yield
    csv.field_size_limit(usual)


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in ALL_FIELDS} for row in sorted(rows, key=lambda row: row["id"])]


def test_every_record_is_ingested_or_rejected_and_every_ingested_one_exported(passage: Passage) -> None:
    ingested, rejected = len(RECORDS), len(hostile.BROKEN)
    assert passage.document["status"] == "completed"
    assert passage.document["records"] == {
        "generated": ingested + rejected, "ingested": ingested, "rejected": rejected,
        "processed": ingested, "transformed": ingested, "exported": ingested,
    }  # fmt: skip


def test_the_rejects_are_the_broken_lines_with_their_own_text(passage: Passage) -> None:
    lines = (passage.folder.stage("ingest") / "rejects.jsonl").read_text().splitlines()
    rejects = [json.loads(line) for line in lines]
    assert [reject["line"] for reject in rejects] == [FIRST_BROKEN + number for number in range(len(hostile.BROKEN))]
    shown = [raw.decode("utf-8", "replace").strip()[:2000] for raw in hostile.BROKEN]
    assert [reject["raw"] for reject in rejects] == shown


def test_what_was_ingested_comes_out_of_the_json_export_equal(passage: Passage) -> None:
    data = json.loads(Path(passage.document["output_file"]).read_bytes())["data"]
    for found, record in zip(in_order(data), RECORDS, strict=True):
        assert repr(found) == repr(hostile.expected(record))


def test_json_lines_hold_the_same_one_record_a_line(passage: Passage, tmp_path: Path) -> None:
    content = gzip.decompress(passage.exported("jsonl", "gzip", tmp_path))
    found = [json.loads(line) for line in content.removesuffix(b"\n").split(b"\n")]
    assert repr(in_order(found)) == repr(in_order([hostile.expected(record) for record in RECORDS]))


def test_parquet_holds_the_same(passage: Passage, tmp_path: Path) -> None:
    passage.exported("parquet", "none", tmp_path)
    rows = pq.read_table(next(tmp_path.iterdir())).to_pylist()
    for found, record in zip(rows, RECORDS, strict=True):
        wanted = hostile.expected(record)
        plain = {name: found[name] for name in ALL_FIELDS if name not in ("value", "created_at", "extra")}
        assert plain == {name: wanted[name] for name in plain}
        assert repr(json.loads(found["extra"])) == repr(wanted["extra"])


def test_csv_holds_the_same_and_no_cell_that_a_spreadsheet_takes_for_a_formula(
    passage: Passage, tmp_path: Path, long_cells: None
) -> None:
    text = passage.exported("csv", "none", tmp_path).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(RECORDS)
    for found, record in zip(rows, RECORDS, strict=True):
        wanted = hostile.expected(record)
        for name in ("name", "customer_name", "customer_email", "customer_country"):
            cell, value = found[name], wanted[name] or ""
            assert cell in (value, f"'{value}")
            assert not FORMULA.match(cell)
        assert repr(json.loads(found["extra"])) == repr(wanted["extra"])


def test_a_country_called_unknown_and_no_country_are_one_row_of_the_summary(passage: Passage) -> None:
    countries = [hostile.expected(record)["customer_country"] for record in RECORDS]
    summary = sql.Identifier(schema_of(passage.folder.pipeline_id), "country_summary")
    with psycopg2.connect(passage.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("select country, record_count from {}").format(summary))
        found = dict(cursor.fetchall())
    connection.close()
    assert found["unknown"] == sum(country in (None, "unknown") for country in countries)
    assert set(found) == {"unknown" if country is None else country for country in countries}


def test_the_files_name_reached_the_kernel_as_it_was_typed(passage: Passage) -> None:
    notebook = nbformat.read(passage.folder.stage("ingest") / "notebook.ipynb", as_version=4)
    injected = next(cell for cell in notebook.cells if "injected-parameters" in cell.metadata.tags)
    names: dict[str, Any] = {}
    exec(injected.source, names)
    assert names["input_file"] == str(passage.source) == passage.document["parameters"]["input_file"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Browser, report: Path) -> tuple[Page, list[str]]:
    """Open a report, its figures drawn; returns the page and whatever must not happen on it."""
    page, trouble = browser.new_page(), list[str]()
    page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda message: trouble.append(f"{message.type} {message.text}"))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.append(request.url))
    page.goto(report.as_uri())
    for figure in page.locator(".plot").all():
        figure.locator(".main-svg .ytick text").first.wait_for()
    return page, [text for text in trouble if text != report.as_uri() and not text.startswith("data:")]


@in_browser
def test_the_runs_own_reports_show_hostile_data_and_do_nothing_else(passage: Passage, browser: Browser) -> None:
    for report in passage.document["reports"]:
        page, trouble = opened(browser, Path(report))
        assert trouble == [], report
        assert page.locator("a[href^='javascript' i], iframe, object, form").count() == 0
        page.close()


@in_browser
def test_texts_of_the_data_are_shown_as_texts_in_figures_and_tables(
    passage: Passage, browser: Browser, tmp_path: Path
) -> None:
    countries = {hostile.expected(record)["customer_country"] or "" for record in RECORDS}
    labels = [as_label(country) for country in sorted(countries)]
    figure = horizontal_bars(go.Figure(layout={"height": 30 * len(countries)}), "Countries", "records")
    figure.add_bar(x=[1] * len(labels), y=labels, orientation="h").update_yaxes(dtick=1, type="category")
    table = pandas.DataFrame({"country": sorted(countries)}).to_html()
    shown = [{PLOTLY_MIME: figure.to_dict()}, {"text/html": table}]
    cell = new_code_cell("show()", outputs=[new_output("display_data", data=data) for data in shown])
    page, trouble = opened(browser, render_report(new_notebook(cells=[cell]), tmp_path / "report.html"))
    assert trouble == []
    shown_labels = page.evaluate("[...document.querySelectorAll('.ytick text')].map(text => text.textContent)")
    assert set(shown_labels) == {html.unescape(label) for label in labels}
    cells = page.evaluate("[...document.querySelectorAll('td')].map(cell => cell.textContent)")
    assert {text for text in countries if "<" in text} <= set(cells)
