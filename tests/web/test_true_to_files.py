"""The page of a run says which of its files are no longer as the run left them, and which reports are earlier ones."""

from __future__ import annotations

import re

import pytest

from tests.web.by_hand import LEASE_SECONDS, Worker
from tests.web.served import Page
from workbench.state.next_attempt import reopen_run

pytestmark = pytest.mark.promise("P20", "an export or another artefact that was edited or removed is named")


def shown(page: Page, pipeline_id: str) -> str:
    with page.client() as client:
        return re.sub(r"\s+", " ", client.get(f"/runs/{pipeline_id}").text)


def test_files_that_were_changed_after_completion_are_named_on_the_page(page: Page, worker: Worker) -> None:
    run = worker.completed()
    assert "Not as the run left it" not in shown(page, run.pipeline_id)
    export = worker.folder(run, "export")
    (export / "export.jsonl").write_text("edited")
    (export / "parts" / "part-00000.parquet").unlink()
    changed = "05_export/export.jsonl (changed since the run), 05_export/parts/part-00000.parquet (missing)"
    assert f"Not as the run left it: {changed}" in shown(page, run.pipeline_id)
    with page.client() as client:
        document = client.get(f"/api/v1/runs/{run.pipeline_id}").json()
    assert [each["problem"] for each in document["changed_files"]] == ["changed since the run", "missing"]


@pytest.mark.promise("P20", "a report of an earlier attempt says that it is one")
def test_reports_of_results_that_were_given_up_are_called_earlier_ones(page: Page, worker: Worker) -> None:
    run = worker.completed()
    assert "an earlier one" not in shown(page, run.pipeline_id)
    reopen_run(worker.engine, run.pipeline_id, LEASE_SECONDS, "transform")
    assert shown(page, run.pipeline_id).count("Report, an earlier one</a>") == 2
