"""Only this page's own addresses, only people who mean it, only those with the token where one is set."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr
from starlette.routing import Route

from tests.web.by_hand import Worker
from tests.web.served import Page, form_token, served
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.state import queries
from workbench.web import pages, pages_changes
from workbench.web.auth import Access, kept_token
from workbench.web.server import serve

pytestmark = pytest.mark.promise(
    "S6", "foreign hosts and origins are refused; changes want a token; with one set nobody reads without it"
)

TOKEN = "a-token-of-people-who-may-read"
JSON = {"Content-Type": "application/json"}


def _addresses(pipeline_id: str) -> list[str]:
    api = f"/api/v1/runs/{pipeline_id}"
    return [
        "/",
        "/runs",
        f"/runs/{pipeline_id}",
        f"/runs/{pipeline_id}/live",
        f"/runs/{pipeline_id}/stages/ingest",
        "/static/page.js",
        "/api/v1/health",
        "/api/v1/runs",
        api,
        f"{api}/events",
        f"{api}/stages/ingest/report",
    ]


FOREIGN = [
    {"Host": "attacker.example"},
    {"Host": "127.0.0.1:1"},
    {"Host": "127.0.0.1.attacker.example:8787"},
    {"Host": ""},
    {"Origin": "http://attacker.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
]


def _everywhere(page: Page, pipeline_id: str) -> list[tuple[str, str]]:
    """Return method and address of everything the page answers, from its own lists: the API's description, routes."""
    parts = {"pipeline_id": pipeline_id, "stage": "ingest", "name": "ingest.jsonl"}
    with page.client() as client:
        described = client.get("/api/v1/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in described.items() for method in methods]
    for router in (pages.router, pages_changes.router):
        found += [
            (method, each.path) for each in router.routes if isinstance(each, Route) for method in each.methods or ()
        ]
    filled = [(method, re.sub(r"{(\w+)(:path)?}", lambda part: parts[part[1]], path)) for method, path in found]
    return [*filled, ("GET", "/static/page.js"), ("GET", "/api/v1/openapi.json"), ("GET", "/nope")]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: " ".join(f"{k} {v}" for k, v in headers.items()))
def test_a_foreign_host_or_origin_is_refused_everywhere(page: Page, worker: Worker, headers: dict[str, str]) -> None:
    run = worker.completed().pipeline_id
    everywhere = _everywhere(page, run)
    assert len(everywhere) >= 25
    with page.entitled(Accept="text/event-stream") as client:
        for method, address in everywhere:
            assert client.request(method, address, headers=headers).status_code == 403, (method, address)
    assert len(queries.key_figures(worker.engine)) == 1


def test_the_own_names_are_served_and_a_link_from_elsewhere_may_lead_here(page: Page) -> None:
    own = f"http://localhost:{page.port}"
    with page.client() as client:
        assert client.get("/", headers={"Host": f"localhost:{page.port}", "Origin": own}).status_code == 200
        assert client.get("/", headers={"Host": f"[::1]:{page.port}"}).status_code == 200
        led = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/runs", headers=led).status_code == 200


def test_further_names_are_those_of_the_setting(worker: Worker) -> None:
    settings = worker.settings.model_copy(update={"workbench_web_names": "runs.example, other.example:81"})
    with served(settings, worker.engine, worker.actions()) as page, page.client() as client:
        headers = {"Host": "runs.example", "Origin": "https://runs.example"}
        assert client.get("/", headers=headers).status_code == 200
        assert client.get("/", headers={"Host": "other.example"}).status_code == 403


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic YTpi", "Bearer", "Bearer \xff"])
def test_the_api_changes_nothing_without_its_token(page: Page, worker: Worker, authorization: str | None) -> None:
    run = worker.started().pipeline_id
    headers = {**JSON, **({"Authorization": authorization} if authorization else {})}
    with page.client() as client:
        for address in ("/api/v1/runs", f"/api/v1/runs/{run}/cancel", f"/api/v1/runs/{run}/resume"):
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = client.post(address, content=b"{}", headers=encoded)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
    assert queries.run_row(worker.engine, run)["cancel_requested_at"] is None
    assert len(queries.key_figures(worker.engine)) == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_the_api_takes_changes_as_json_only(page: Page, worker: Worker, kind: str) -> None:
    with page.entitled(**{"Content-Type": kind}) as client:
        assert client.post("/api/v1/runs", content=b'{"records": 5}').status_code == 415
    assert queries.key_figures(worker.engine) == []


def test_a_form_counts_only_with_the_token_of_its_own_session(page: Page, worker: Worker) -> None:
    run = worker.started().pipeline_id
    with page.client() as mine, page.client() as other:
        own, foreign = form_token(mine.get("/").text), form_token(other.get("/").text)
        assert own != foreign
        for wrong in ("", foreign, "0" * 64, "\N{SNOWMAN}"):
            refused = mine.post(f"/runs/{run}/cancel", data={"form_token": wrong})
            assert refused.status_code == 403
        with page.client() as nobody:
            assert nobody.post(f"/runs/{run}/cancel", data={"form_token": own}).status_code == 403
        assert queries.run_row(worker.engine, run)["cancel_requested_at"] is None
        assert mine.post(f"/runs/{run}/cancel", data={"form_token": own}).status_code == 303
    assert queries.run_row(worker.engine, run)["cancel_requested_at"] is not None


def test_the_session_is_out_of_reach_of_scripts_and_of_other_sites(page: Page) -> None:
    with page.client() as client:
        cookie = client.get("/").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert page.token not in cookie
        assert "set-cookie" not in client.get("/").headers


def test_a_made_up_session_is_none(page: Page, worker: Worker) -> None:
    run = worker.started().pipeline_id
    forged = "0" * 32 + "." + "0" * 64
    with page.client(Cookie=f"workbench_{page.port}={forged}") as client:
        token = form_token(client.get("/").text)
        assert client.post(f"/runs/{run}/cancel", data={"form_token": token}).status_code == 403


@pytest.fixture
def closed(worker: Worker) -> Iterator[Page]:
    """A page that wants its token from everybody."""
    settings = worker.settings.model_copy(update={"workbench_web_token": SecretStr(TOKEN)})
    with served(settings, worker.engine, worker.actions()) as page:
        yield page


def test_with_a_token_set_nobody_reads_without_it(closed: Page, worker: Worker) -> None:
    run = worker.completed().pipeline_id
    with closed.client() as client:
        for address in _addresses(run):
            answer = client.get(address)
            if address.startswith(("/static/", "/api/v1/health")):
                assert answer.status_code == 200
            elif address.startswith("/api/"):
                assert answer.status_code == 401
            else:
                assert (answer.status_code, answer.headers["location"][:9]) == (303, "/login?to")
            assert run not in answer.text
    with closed.client(Authorization=f"Bearer {TOKEN}") as client:
        assert client.get(f"/api/v1/runs/{run}").status_code == 200


def test_who_knows_the_token_gets_in_by_form_and_by_address(closed: Page) -> None:
    with closed.client() as client:
        assert client.post("/login", data={"token": "not it", "to": "/runs"}).status_code == 401
        assert client.get("/runs").status_code == 303
        entered = client.post("/login", data={"token": TOKEN, "to": "/runs"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/runs")
        assert client.get("/runs").status_code == 200
    with closed.client() as client:
        assert client.get("/runs?token=wrong").status_code == 303
        assert client.get("/runs").status_code == 303
        entered = client.get(f"/runs?status=failed&token={TOKEN}")
        assert (entered.status_code, entered.headers["location"]) == (303, "/runs?status=failed")
        assert client.get("/runs").status_code == 200


@pytest.mark.parametrize(
    "to", ["//attacker.example", "/\\attacker.example", "https://attacker.example", "javascript:0"]
)
def test_nobody_is_led_elsewhere_after_the_login(closed: Page, to: str) -> None:
    with closed.client() as client:
        assert client.post("/login", data={"token": TOKEN, "to": to}).headers["location"] == "/"
        led = client.get(httpx.URL(f"{closed.url}//attacker.example?token={TOKEN}"))
        assert not led.headers.get("location", "").startswith("//")


def test_an_address_that_others_reach_is_refused_without_a_token(worker: Worker) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "runs.example"):
        settings = worker.settings.model_copy(update={"workbench_web_host": host})
        with pytest.raises(InvalidSetting, match="set WORKBENCH_WEB_TOKEN") as refusal:
            serve(settings, worker.engine, worker.actions(), print)
        assert refusal.value.exit_code == 2


def test_a_taken_port_is_told_in_one_line(page: Page, worker: Worker) -> None:
    settings = worker.settings.model_copy(update={"workbench_web_port": page.port})
    with pytest.raises(ServiceUnavailable, match="already in use; choose another WORKBENCH_WEB_PORT"):
        serve(settings, worker.engine, worker.actions(), print)


def test_the_token_of_a_home_is_kept_and_readable_by_its_owner_only(own_settings: Settings) -> None:
    path = own_settings.home / "web" / "token"
    token = kept_token(path)
    assert len(token) >= 40
    assert kept_token(path) == token == Access.of(own_settings).token
    assert path.stat().st_mode & 0o077 == 0
    assert sorted(each.name for each in path.parent.iterdir()) == ["token", "token.lock"]
