"""What the page shows of data is text, what it serves comes by id only, and nobody can send it too much."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from nbformat.v4 import new_output

from tests.web.by_hand import Worker
from tests.web.served import Page, form_token, served
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.runs import OwnedRun

pytestmark = pytest.mark.promise(
    "S10", "data show as text on the page; reports are shut in; files come by id only; sizes and starts have bounds"
)

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>"
JSON = {"Content-Type": "application/json"}


def _pages(page: Page, run: OwnedRun) -> Iterator[str]:
    with page.client() as client:
        for address in ("/", "/runs", f"/runs/{run.pipeline_id}", f"/runs/{run.pipeline_id}/stages/ingest", "/nope"):
            yield client.get(address).text


def test_hostile_data_shows_as_text(page: Page, worker: Worker) -> None:
    worker.outputs = [
        new_output("stream", name="stdout", text=HOSTILE),
        new_output("display_data", data={"text/html": HOSTILE}),
        new_output("display_data", data={"image/svg+xml": f"<svg onload=alert(4)>{HOSTILE}</svg>"}),
        new_output("display_data", data={"application/javascript": "alert(5)"}),
    ]
    run = worker.failed(message=HOSTILE)
    worker.write_notebook(run, "ingest")
    for html in _pages(page, run):
        active = re.sub(r'<script src="/static/[\w.-]+" defer></script>|<script type="application/json">', "", html)
        assert "<script" not in active
        assert re.search(r"<[^>]*\son\w+\s*=", active) is None
        assert "javascript:" not in active


def test_no_page_holds_a_script_of_its_own(page: Page, worker: Worker) -> None:
    for html in _pages(page, worker.completed()):
        for script in re.findall(r"<script([^>]*)>", html):
            assert "src=" in script or 'type="application/json"' in script
        assert re.search(r"<style[^>]*>[^<]", html) is None


def test_every_answer_carries_the_headers_that_protect_it(page: Page, worker: Worker) -> None:
    run = worker.completed().pipeline_id
    with page.client() as client:
        for address in ("/", f"/runs/{run}", "/static/page.js", "/api/v1/runs", "/nope", "/api/v1/runs/nope"):
            headers = client.get(address).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert "'unsafe-eval'" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"


def test_an_answer_to_what_should_not_have_happened_carries_them_too(worker: Worker) -> None:
    actions = replace(worker.actions(), trouble=lambda: str(1 // 0))
    with served(worker.settings, worker.engine, actions) as page:
        good = httpx.get(f"{page.url}/runs").headers
        protecting = {
            name: good[name] for name in good.keys() - {"content-length", "content-type", "date", "set-cookie"}
        }
        assert len(protecting) >= 8
        for address in ("/", "/api/v1/ready"):
            answer = httpx.get(page.url + address)
            assert answer.status_code == 500
            assert "ZeroDivisionError" in answer.text
            assert protecting.items() <= answer.headers.items()


def test_a_report_is_shut_into_a_sandbox(page: Page, worker: Worker) -> None:
    run = worker.completed().pipeline_id
    with page.client() as client:
        policy = client.get(f"/api/v1/runs/{run}/stages/ingest/report").headers["content-security-policy"]
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert directives["sandbox"] == "allow-scripts"
    assert directives["default-src"] == "'none'"
    assert "connect-src" not in directives
    assert "http" not in policy


def test_downloads_are_never_shown_as_pages(page: Page, worker: Worker) -> None:
    run = worker.completed().pipeline_id
    with page.client() as client:
        for address in ("artefacts/ingest.jsonl", "notebook"):
            headers = client.get(f"/api/v1/runs/{run}/stages/ingest/{address}").headers
            assert headers["content-disposition"].startswith("attachment")
            assert headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "name",
    [
        "../manifest.json",
        "..%2fmanifest.json",
        "%2e%2e/%2e%2e/web/token",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "manifest.json",
        "notebook.ipynb",
        "parts",
        "parts/",
        "./ingest.jsonl",
        "parts/../ingest.jsonl",
        "ingest.jsonl%00",
        "",
    ],
)
def test_only_what_a_manifest_names_can_be_fetched(page: Page, worker: Worker, name: str) -> None:
    run = worker.completed().pipeline_id
    assert _asked_as_written(page, f"/api/v1/runs/{run}/stages/ingest/artefacts/{name}") == 404


def _asked_as_written(page: Page, address: str) -> int:
    """Return the status of an address that no client has tidied up before."""
    with closing(http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)) as connection:
        connection.request("GET", address)
        return connection.getresponse().status


@pytest.mark.parametrize("stage", ["..", "%2e%2e", "02_ingest", "ingest%2f..", "Ingest", "%00"])
def test_stages_are_known_by_their_names_only(page: Page, worker: Worker, stage: str) -> None:
    run = worker.completed().pipeline_id
    for what in ("report", "notebook", "artefacts/ingest.jsonl"):
        assert _asked_as_written(page, f"/api/v1/runs/{run}/stages/{stage}/{what}") == 404


def test_a_link_that_leads_elsewhere_is_not_followed(page: Page, worker: Worker, tmp_path: Path) -> None:
    run = worker.completed()
    folder = worker.folder(run, "ingest")
    secret = tmp_path / "secret"
    secret.write_text("not for readers")
    (folder / "elsewhere").symlink_to(folder / "parts", target_is_directory=True)
    for name in ("report.html", "notebook.ipynb", "ingest.jsonl", "parts/part-00000.parquet"):
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
    with page.client() as client:
        for what in ("report", "notebook", "artefacts/ingest.jsonl", "artefacts/parts/part-00000.parquet"):
            answer = client.get(f"/api/v1/runs/{run.pipeline_id}/stages/ingest/{what}")
            assert answer.status_code == 404
        assert "not for readers" not in client.get(f"/runs/{run.pipeline_id}/stages/ingest").text


def test_a_body_of_more_than_ten_megabytes_is_refused_announced_or_not(page: Page) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"locale": "'
        for _ in range(11):
            yield b"a" * 1_000_000

    with page.entitled(**JSON) as client:
        assert client.post("/api/v1/runs", content=b"a" * 10_000_001).status_code == 413
        assert client.post("/api/v1/runs", content=pieces()).status_code == 413
        token = form_token(client.get("/").text)
        large = {"form_token": token, "locale": "a" * 10_000_001}
        assert (
            client.post("/runs", data=large, headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code
            == 413
        )


def test_too_many_starts_are_refused_until_some_time_has_passed(page: Page, worker: Worker) -> None:
    starts = page.app.state.context.starts
    starts.seconds = 3_600  # however slow this machine is, no start becomes free meanwhile
    with page.entitled() as client:
        answers = [client.post("/api/v1/runs", json={"records": 1}) for _ in range(40)]
        same = client.post("/api/v1/runs", json={"records": 1}, headers={"Idempotency-Key": "late"})
        starts.seconds = 0.001
        later = client.post("/api/v1/runs", json={"records": 1})
    assert [answer.status_code for answer in answers] == [202] * 30 + [429] * 10
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (same.status_code, later.status_code) == (429, 202)
    assert len(queries.key_figures(worker.engine, 100)) == 31


@pytest.mark.parametrize("value", ["'; drop table pipelines; --", "{{ 7 * 7 }}", "${HOME}", "a\\\\b", "\N{SNOWMAN}é"])
def test_parameters_arrive_as_they_were_sent_or_are_refused(
    page: Page, worker: Worker, tmp_path: Path, value: str
) -> None:
    path = tmp_path / value.replace("/", "")
    path.write_text("{}")
    with page.entitled() as client:
        answer = client.post("/api/v1/runs", json={"input_file": str(path)})
        assert answer.status_code == 202
        stored = queries.run_row(worker.engine, answer.json()["pipeline_id"])["parameters"]
        assert stored == RunParameters(input_file=str(path), reference_time=stored["reference_time"]).model_dump(
            mode="json"
        )
        assert client.post("/api/v1/runs", json={"locale": value}).status_code == 422
