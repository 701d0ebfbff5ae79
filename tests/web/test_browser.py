"""The page in a real browser: it follows a run as it happens, keeps what a reader does, and loads nothing from afar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson
import plotly.graph_objects as go
import pytest
from nbformat.v4 import new_output
from playwright.sync_api import Browser, expect

from tests.web.browsing import chromium, needs_browser, tab, what_is_seen
from tests.web.by_hand import Worker
from tests.web.served import Page, served
from workbench.charts.theme import titled
from workbench.stage.pipeline import STAGE_NAMES
from workbench.state import queries

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def drawing(worker: Worker) -> Worker:
    """A worker whose second cells show a figure."""
    figure = titled(go.Figure(go.Bar(x=["A", "B"], y=[3, 4])), "Records by category", "category", "records")
    data = {"application/vnd.plotly.v1+json": orjson.loads(figure.to_json())}
    worker.outputs.append(new_output("display_data", data=data))
    return worker


def test_a_run_that_is_triggered_appears_and_is_followed_to_its_end(
    browser: Browser, page: Page, drawing: Worker
) -> None:
    with tab(browser) as opened:
        opened.goto(page.url)
        opened.get_by_label("Records", exact=True).fill("250")
        opened.get_by_role("button", name="Trigger pipeline").click()
        opened.wait_for_url("**/runs/2*")
        run = drawing.runs[opened.url.rpartition("/")[2]]
        run.start()
        expect(opened.locator("#headline .badge")).to_contain_text("running")
        for stage in STAGE_NAMES:
            drawing.stage(run, stage)
            expect(opened.locator(f"#stage-{stage} summary .badge")).to_contain_text("completed")
        run.complete(None)
        expect(opened.locator("#headline .badge")).to_contain_text("completed")
        expect(opened.locator("#said")).to_contain_text("Run completed")
    assert queries.run_row(drawing.engine, run.pipeline_id)["parameters"]["records"] == 250


def test_cells_turn_one_by_one_and_their_output_appears(browser: Browser, page: Page, drawing: Worker) -> None:
    run = drawing.started()
    with tab(browser) as opened:
        opened.goto(f"{page.url}/runs/{run.pipeline_id}")
        run.stage_started("ingest")
        for number in (1, 2):
            drawing.cell(run, "ingest", number)
            cell = opened.locator(f"#cell-ingest-1-{number}")
            expect(cell.locator(".badge")).to_contain_text("completed")
        run.note_progress("ingest", {"cell": 2, "cells": 3, "records": 400, "total": 1000})
        expect(opened.locator("#stage-ingest .records")).to_have_text("400 of 1,000 records")
        drawing.write_notebook(run, "ingest")
        drawing.cell(run, "ingest", 3)
        expect(opened.locator("#cell-ingest-1-2 .printed")).to_have_text("hello from ingest")
        expect(opened.locator("#cell-ingest-1-2 .plot .main-svg").first).to_be_visible()


def test_who_comes_back_in_mid_run_sees_what_one_sees_who_stayed(browser: Browser, page: Page, worker: Worker) -> None:
    run = worker.started()
    address = f"{page.url}/runs/{run.pipeline_id}"
    with tab(browser) as stayed, tab(browser) as first:
        stayed.goto(address)
        first.goto(address)
        worker.stage(run, "generate")
        first.close()
        worker.stage(run, "ingest")
        run.stage_started("process")
        worker.cell(run, "process", 1)
        with tab(browser) as again:
            again.goto(address)
            for each in (stayed, again):
                expect(each.locator("#cell-process-1-1 .badge")).to_contain_text("completed")
            assert what_is_seen(stayed) == what_is_seen(again)


def test_what_a_reader_has_unfolded_and_focused_stays_so(browser: Browser, page: Page, worker: Worker) -> None:
    run = worker.started()
    worker.stage(run, "generate")
    with tab(browser) as opened:
        opened.goto(f"{page.url}/runs/{run.pipeline_id}")
        summary = opened.locator("#stage-generate summary")
        summary.focus()
        opened.keyboard.press("Enter")
        expect(opened.locator("#cell-generate-1-1")).to_be_visible()
        worker.stage(run, "ingest")
        expect(opened.locator("#stage-ingest summary .badge")).to_contain_text("completed")
        expect(opened.locator("#cell-generate-1-1")).to_be_visible()
        expect(summary).to_be_focused()


def test_the_page_finds_back_by_itself_when_the_workbench_was_away(browser: Browser, worker: Worker) -> None:
    run = worker.started()
    with tab(browser, forgiven="net::ERR_") as opened:
        with served(worker.settings, worker.engine, worker.actions()) as page:
            opened.goto(f"{page.url}/runs/{run.pipeline_id}")
            expect(opened.locator("#headline .badge")).to_contain_text("running")
        expect(opened.locator("#lost")).to_be_visible()
        worker.stage(run, "generate")
        with served(worker.settings, worker.engine, worker.actions(), page.port):
            expect(opened.locator("#stage-generate summary .badge")).to_contain_text("completed", timeout=15_000)
            expect(opened.locator("#lost")).to_be_hidden()


def test_a_second_click_repeats_the_run_and_going_back_to_change_something_starts_another(
    browser: Browser, page: Page, worker: Worker
) -> None:
    with tab(browser) as opened:
        opened.goto(page.url)
        opened.get_by_label("Records", exact=True).fill("11")
        opened.get_by_label("Reuse").check()
        opened.get_by_role("button", name="Trigger pipeline").dblclick()
        opened.wait_for_url("**/runs/2*")
        opened.go_back()
        opened.get_by_label("Records", exact=True).fill("12")
        opened.get_by_role("button", name="Trigger pipeline").click()
        opened.wait_for_url("**/runs/2*")
    rows = [
        queries.run_row(worker.engine, row["pipeline_id"])["parameters"] for row in queries.key_figures(worker.engine)
    ]
    assert [row["records"] for row in rows] == [12, 11]
    assert rows[1]["reuse"] is True


def test_refused_values_are_told_at_their_fields_and_nothing_starts(
    browser: Browser, page: Page, worker: Worker
) -> None:
    with tab(browser) as opened:
        opened.goto(page.url)
        opened.get_by_label("Records", exact=True).fill("0")
        opened.get_by_label("Input file").fill("/there/is/none.json")
        opened.get_by_role("button", name="Trigger pipeline").click()
        expect(opened.locator("#problem-records")).to_contain_text("greater than or equal to 1")
        expect(opened.locator("#problem-input_file")).to_contain_text("no such file")
        expect(opened.get_by_label("Input file")).to_have_value("/there/is/none.json")
        opened.get_by_role("link", name="Records").click()
        expect(opened.locator("#records")).to_have_attribute("aria-invalid", "true")
    assert queries.key_figures(worker.engine) == []


def test_a_failure_names_stage_cell_and_reason_and_leads_to_its_notebook(browser: Browser, worker: Worker) -> None:
    run = worker.failed(message="12 % of the records are rejected")
    actions = replace(worker.actions(), open_failure=lambda _id, stage: f"http://127.0.0.1:9/lab/{stage}")
    with served(worker.settings, worker.engine, actions) as page, tab(browser) as opened:
        opened.goto(f"{page.url}/runs/{run.pipeline_id}")
        headline = opened.locator("#headline")
        expect(headline).to_contain_text("Stage ingest, cell 2: TooManyRejects")
        expect(headline).to_contain_text("12 % of the records are rejected")
        opened.get_by_role("button", name="Open this failure").click()
        link = opened.get_by_role("link", name="Open it in JupyterLab")
        expect(link).to_have_attribute("href", "http://127.0.0.1:9/lab/ingest")


def test_a_run_is_cancelled_by_its_button(browser: Browser, page: Page, worker: Worker) -> None:
    run = worker.started()
    with tab(browser) as opened:
        opened.goto(f"{page.url}/runs/{run.pipeline_id}")
        opened.get_by_role("button", name="Cancel run").click()
        expect(opened.locator("#headline")).to_contain_text("asked to stop")
    assert queries.run_row(worker.engine, run.pipeline_id)["cancel_requested_at"] is not None


def test_everything_can_be_read_without_script(browser: Browser, page: Page, worker: Worker) -> None:
    run = worker.completed()
    with tab(browser, java_script_enabled=False) as opened:
        opened.goto(f"{page.url}/runs/{run.pipeline_id}")
        opened.locator("#stage-ingest summary").click()
        expect(opened.locator("#cell-ingest-1-2")).to_contain_text("print('hello')")
        opened.locator("#stage-ingest").get_by_role("link", name="Output").click()
        expect(opened.locator("#cell-2 .printed")).to_have_text("hello from ingest")
        opened.goto(f"{page.url}/runs")
        expect(opened.locator("tbody tr")).to_have_count(1)


def test_the_list_of_runs_follows_what_happens(browser: Browser, page: Page, worker: Worker) -> None:
    run = worker.started()
    with tab(browser) as opened:
        opened.goto(f"{page.url}/runs")
        expect(opened.locator(f"#row-{run.pipeline_id} .badge")).to_contain_text("running")
        other = worker.started()
        expect(opened.locator(f"#row-{other.pipeline_id}")).to_be_visible()
        expect(opened.locator(".plot.drawn")).to_have_count(4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_draws_its_figures_inside_its_sandbox(
    browser: Browser, page: Page, drawing: Worker, scheme: str
) -> None:
    run = drawing.completed()
    asked: list[str] = []
    with tab(browser, color_scheme=scheme) as opened:
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(f"{page.url}/runs/{run.pipeline_id}")
        opened.locator("#stage-ingest summary").click()
        opened.locator("#stage-ingest").get_by_role("link", name="Report").click()
        opened.wait_for_url("**/report*")
        expect(opened.locator(".plot.drawn .main-svg").first).to_be_visible()
        assert opened.evaluate("() => { try { return localStorage.length } catch { return 'shut' } }") == "shut"
        opened.get_by_role("link", name="Generate", exact=True).click()
        expect(opened.locator("[aria-current=page]")).to_have_text("Generate")
    assert {each.split("/")[2] for each in asked if each.startswith("http")} == {f"127.0.0.1:{page.port}"}


def test_a_file_is_downloaded_whole(browser: Browser, page: Page, worker: Worker) -> None:
    run = worker.completed()
    with tab(browser) as opened:
        opened.goto(f"{page.url}/runs/{run.pipeline_id}")
        with opened.expect_download() as download:
            opened.get_by_role("link", name="export.jsonl").click()
        content = download.value.path().read_bytes()
    assert content == (worker.folder(run, "export") / "export.jsonl").read_bytes()
