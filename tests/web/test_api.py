"""The API: runs are created once, listed in pages, shown, cancelled; what is wrong is told by field and reason."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.by_hand import Worker
from tests.web.served import Page, served
from workbench.base.errors import ResumeRefused, ServiceUnavailable
from workbench.services import prefect
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries

RUNS = "/api/v1/runs"


def _problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    return problem


def test_a_created_run_is_recorded_before_the_answer(page: Page, worker: Worker) -> None:
    with page.entitled() as client:
        answer = client.post(RUNS, json={"records": 250, "seed": 7})
    assert answer.status_code == 202
    row = queries.run_row(worker.engine, answer.json()["pipeline_id"])
    assert row["status"] == "pending"
    assert (row["parameters"]["records"], row["parameters"]["seed"]) == (250, 7)
    assert answer.headers["location"] == f"{RUNS}/{row['id']}"


def test_fifty_equal_posts_with_one_key_make_one_run(page: Page, worker: Worker) -> None:
    def post(_number: int) -> httpx.Response:
        with page.entitled(**{"Idempotency-Key": "of-fifty"}) as client:
            return client.post(RUNS, json={"records": 10})

    with ThreadPoolExecutor(max_workers=50) as crowd:
        answers = list(crowd.map(post, range(50)))
    assert Counter(answer.status_code for answer in answers) == {202: 50}
    assert len({answer.json()["pipeline_id"] for answer in answers}) == 1
    assert len(queries.key_figures(worker.engine, 100)) == 1


def test_a_key_that_belongs_to_other_parameters_is_refused(page: Page) -> None:
    with page.entitled(**{"Idempotency-Key": "mine"}) as client:
        assert client.post(RUNS, json={"records": 10}).status_code == 202
        problem = _problem(client.post(RUNS, json={"records": 11}), 422)
    assert problem["errors"][0]["field"] == "Idempotency-Key"
    assert "other parameters" in problem["errors"][0]["reason"]


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"records": 0}, "records", "greater than or equal to 1"),
        ({"records": "ten"}, "records", "valid integer"),
        ({"recrods": 5}, "recrods", "not permitted"),
        ({"export_format": "xml"}, "export_format", "'json', 'jsonl'"),
        ({"input_file": "/there/is/none.json"}, "input_file", "no such file"),
        ({"input_file": "/etc"}, "input_file", "is not a file"),
        ({"input_file": "a\x00b"}, "input_file", "control characters"),
        ({"locale": "\ud800"}, "locale", "unicode string"),
        ({"reference_time": "0001-01-01T00:00:00+23:59"}, "reference_time", "years 1 to 9999"),
    ],
)
def test_refused_parameters_are_told_by_field_and_reason(
    page: Page, worker: Worker, body: dict[str, Any], field: str, reason: str
) -> None:
    content = json.dumps(body).encode()
    with page.entitled(**{"Content-Type": "application/json"}) as client:
        problem = _problem(client.post(RUNS, content=content), 422)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert reason in problem["errors"][0]["reason"]
    assert queries.key_figures(worker.engine) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"defect_rate": NaN}', b'{"records": 1e400}', b"\xff"]
)
def test_a_body_that_is_no_run_is_refused(page: Page, content: bytes) -> None:
    with page.entitled(**{"Content-Type": "application/json"}) as client:
        problem = client.post(RUNS, content=content)
    assert problem.status_code in (400, 422)
    assert problem.headers["content-type"] == "application/problem+json"


def test_lists_come_in_pages_newest_first_and_can_be_filtered(page: Page, worker: Worker) -> None:
    ids = [worker.trigger(RunParameters(records=n)) for n in range(1, 6)]
    failed = worker.failed().pipeline_id
    seen: list[str] = []
    address: str | None = f"{RUNS}?limit=4"
    with page.client() as client:
        while address:
            listed = client.get(address).json()
            seen += [run["pipeline_id"] for run in listed["runs"]]
            address = listed["next"]
        only = client.get(f"{RUNS}?status=failed").json()
    assert seen == [failed, *reversed(ids)]
    assert [run["pipeline_id"] for run in only["runs"]] == [failed]


def test_a_run_is_shown_as_the_terminal_shows_it(page: Page, worker: Worker) -> None:
    run = worker.completed()
    with page.client() as client:
        document = client.get(f"{RUNS}/{run.pipeline_id}").json()
    assert document["status"] == "completed"
    assert document["records"]["exported"] == 990
    assert [stage["name"] for stage in document["stages"]] == list(STAGE_NAMES)


@pytest.mark.parametrize("pipeline_id", ["20261123t083012_a1b2c3", "nothing", "..", "%2e%2e", "%00", "a" * 500])
def test_a_run_that_is_not_there_is_not_found(page: Page, pipeline_id: str) -> None:
    with page.client() as client:
        for address in (f"{RUNS}/{pipeline_id}", f"{RUNS}/{pipeline_id}/events", f"{RUNS}/{pipeline_id}/files"):
            assert client.get(address).status_code == 404


def test_a_run_is_cancelled_once_and_only_while_it_lasts(page: Page, worker: Worker) -> None:
    running, ended = worker.started().pipeline_id, worker.completed().pipeline_id
    with page.entitled(**{"Content-Type": "application/json"}) as client:
        assert client.post(f"{RUNS}/{running}/cancel").status_code == 202
        assert "completed" in _problem(client.post(f"{RUNS}/{ended}/cancel"), 409)["detail"]
    assert queries.run_row(worker.engine, running)["cancel_requested_at"] is not None


def test_a_run_is_resumed_from_the_stage_that_is_named(worker: Worker) -> None:
    asked: list[tuple[str, StageName | None]] = []

    def resume(pipeline_id: str, stage: StageName | None) -> None:
        if stage is None:
            raise ResumeRefused(f"run {pipeline_id} has completed; say from which stage")
        asked.append((pipeline_id, stage))

    run = worker.completed()
    with served(worker.settings, worker.engine, worker.actions(resume=resume)) as page, page.entitled() as client:
        assert client.post(f"{RUNS}/{run.pipeline_id}/resume", json={"from_stage": "process"}).status_code == 202
        assert "say from which" in _problem(client.post(f"{RUNS}/{run.pipeline_id}/resume", json={}), 409)["detail"]
        refused = _problem(client.post(f"{RUNS}/{run.pipeline_id}/resume", json={"from_stage": "load"}), 422)
    assert asked == [(run.pipeline_id, "process")]
    assert refused["errors"][0]["field"] == "from_stage"


def test_without_prefect_nothing_is_created_and_the_page_says_why(worker: Worker) -> None:
    def trigger(_parameters: RunParameters, _key: str | None) -> str:
        raise ServiceUnavailable("Prefect at 127.0.0.1:4200: no API answers")

    actions = replace(worker.actions(), trigger=trigger, trouble=lambda: "Prefect does not answer")
    with served(worker.settings, worker.engine, actions) as page, page.entitled() as client:
        assert "no API answers" in _problem(client.post(RUNS, json={}), 503)["detail"]
        assert "Prefect does not answer" in client.get("/").text
        ready = client.get("/api/v1/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"] == {"database": "ok", "live": "ok", "starting": "Prefect does not answer"}
    assert queries.key_figures(worker.engine) == []


def test_a_setting_that_is_no_address_keeps_runs_from_starting_and_the_page_says_which(worker: Worker) -> None:
    def ask(*_given: object) -> str:
        return prefect.checked("localhost:4200/api")

    actions = replace(worker.actions(), trigger=ask, trouble=ask)
    with served(worker.settings, worker.engine, actions) as page, page.entitled() as client:
        assert "PREFECT_API_URL" in _problem(client.post(RUNS, json={}), 503)["detail"]
        shown, ready = client.get("/"), client.get("/api/v1/ready")
    assert (shown.status_code, ready.status_code) == (200, 503)
    assert "PREFECT_API_URL" in shown.text
    assert "PREFECT_API_URL" in ready.json()["checks"]["starting"]


def test_two_runs_are_compared(page: Page, worker: Worker) -> None:
    a, b = worker.completed().pipeline_id, worker.failed().pipeline_id
    with page.client() as client:
        compared = client.get(f"/api/v1/compare?a={a}&b={b}").json()
        assert client.get(f"/api/v1/compare?a={a}&b=../../etc").status_code == 404
        shown = client.get(f"/compare?a={a}&b={b}").text
    assert compared["runs"]["b"]["status"] == "failed"
    assert compared["words"][0].split()[0] in shown


def test_health_and_readiness_say_yes(page: Page) -> None:
    with page.client() as client:
        assert client.get("/api/v1/health").json()["status"] == "ok"
        assert client.get("/api/v1/ready").status_code == 200


def test_the_files_of_a_run_are_listed_and_each_can_be_fetched(page: Page, worker: Worker) -> None:
    run = worker.completed()
    with page.client() as client:
        files = client.get(f"{RUNS}/{run.pipeline_id}/files").json()
        assert len(files["artefacts"]) == 10
        assert len(files["reports"]) == len(files["notebooks"]) == 5
        for entry in [*files["artefacts"], *files["reports"], *files["notebooks"]]:
            assert client.get(entry["href"]).status_code == 200


@pytest.mark.parametrize(
    ("link", "status"),
    [
        ("02_ingest/report.html", 200),
        ("02_ingest/report.attempt-2.html", 404),
        ("02_ingest/notebook.html", 404),
        ("06_nothing/report.html", 404),
    ],
)
def test_a_report_is_found_by_the_link_in_another(page: Page, worker: Worker, link: str, status: int) -> None:
    run = worker.completed()
    with page.client() as client:
        answer = client.get(f"{RUNS}/{run.pipeline_id}/stages/{link}")
    assert answer.status_code == status
    assert ("sandbox" in answer.headers["content-security-policy"]) == (status == 200)


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=11880-", 206, slice(11880, None)),
        ("bytes=99999999-", 416, None),
    ],
)
def test_parts_of_an_artefact_are_served(
    page: Page, worker: Worker, asked: str, status: int, content: slice | None
) -> None:
    run = worker.completed()
    path = worker.folder(run, "ingest") / "ingest.jsonl"
    href = f"{RUNS}/{run.pipeline_id}/stages/ingest/artefacts/ingest.jsonl"
    with page.client() as client:
        whole = client.get(href)
        part = client.get(href, headers={"Range": asked})
    assert whole.content == Path(path).read_bytes()
    assert part.status_code == status
    if content is not None:
        assert part.content == whole.content[content]
