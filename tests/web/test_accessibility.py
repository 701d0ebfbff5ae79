"""axe-core finds no serious problem on any page, on a desk or on a phone, light or dark; the keyboard reaches all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import plotly.graph_objects as go
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbformat.v4 import new_output
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from tests.web.browsing import chromium, needs_browser, tab
from tests.web.by_hand import Worker
from tests.web.served import Page, served
from workbench.stage.run_parameters import RunParameters
from workbench.state.lease import request_cancel
from workbench.state.states import RunStatus

pytestmark = needs_browser
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "dark phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "color_scheme": "dark"},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def full(worker: Worker) -> Iterator[Page]:
    """The page with everything it may offer, and with something to complain about."""
    offers: dict[str, Any] = {
        "resume": lambda _id, _stage: None,
        "open_failure": lambda _id, stage: f"http://127.0.0.1:9/lab/{stage}",
        "trouble": lambda: "no worker is there",
    }
    with served(worker.settings, worker.engine, worker.actions(**offers)) as page:
        yield page


@pytest.fixture
def addresses(worker: Worker) -> list[str]:
    """Every kind of page there is, in every state."""
    data = {"application/vnd.plotly.v1+json": orjson.loads(go.Figure(go.Bar(x=["A"], y=[3])).to_json())}
    worker.outputs.append(new_output("display_data", data=data))
    done, failed, running, ended, waiting = (
        worker.completed(),
        worker.failed(),
        worker.started(),
        worker.started(),
        worker.runs[worker.trigger(RunParameters())],
    )
    worker.stage(running, "generate")
    running.stage_started("ingest")
    worker.cell(running, "ingest", 1)
    request_cancel(worker.engine, running.pipeline_id)
    ended.end_badly(RunStatus.CANCELLED, {"name": "RunCancelled", "message": "cancelled"})
    runs = [f"/runs/{each.pipeline_id}" for each in (done, failed, running, ended, waiting)]
    compare = f"/compare?a={done.pipeline_id}&b={failed.pipeline_id}"
    return ["/", "/runs", *runs, f"/runs/{done.pipeline_id}/stages/ingest", compare, "/login", "/nope"]


@pytest.mark.parametrize("screen", SCREENS)
def test_no_page_has_a_serious_problem(browser: Browser, full: Page, addresses: list[str], screen: str) -> None:
    found = []
    with tab(browser, **SCREENS[screen]) as opened:
        for address in addresses:
            opened.goto(full.url + address)
            found += [(address, *each) for each in _serious(opened)]
        opened.goto(full.url + addresses[3])
        opened.get_by_role("button", name="Open this failure").click()
        opened.get_by_role("link", name="Open it in JupyterLab").wait_for()
        found += [("open", *each) for each in _serious(opened)]
    assert found == []


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_without_any_run_have_no_serious_problem(browser: Browser, page: Page, screen: str) -> None:
    with tab(browser, **SCREENS[screen]) as opened:
        for address in ("/", "/runs"):
            opened.goto(page.url + address)
            assert _serious(opened) == [], address


def _serious(opened: Tab) -> list[tuple[str, list[str]]]:
    """Return what axe-core calls serious or critical, everything unfolded: the rule, and the elements that break it."""
    opened.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    violations = Axe().run(opened).response["violations"]
    serious = [each for each in violations if each["impact"] in ("serious", "critical")]
    return [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in serious]


def test_no_page_is_wider_than_a_phone(browser: Browser, page: Page, addresses: list[str]) -> None:
    with tab(browser, **SCREENS["phone"]) as opened:
        for address in addresses:
            opened.goto(page.url + address)
            assert opened.evaluate("document.documentElement.scrollWidth") <= 390, address


def test_refused_fields_have_no_serious_problem_either(browser: Browser, page: Page) -> None:
    with tab(browser) as opened:
        opened.goto(page.url)
        opened.get_by_label("Records", exact=True).fill("0")
        opened.get_by_role("button", name="Trigger pipeline").click()
        opened.locator("#problem-records").wait_for()
        assert _serious(opened) == []


def test_the_form_can_be_sent_with_the_keyboard_alone(browser: Browser, page: Page, worker: Worker) -> None:
    with tab(browser) as opened:
        opened.goto(page.url)
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.textContent") == "Skip to content"
        opened.keyboard.press("Enter")
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.id") == "records"
        opened.keyboard.press("Control+A")
        opened.keyboard.type("77")
        opened.keyboard.press("Enter")
        opened.wait_for_url("**/runs/2*")
    assert len(worker.runs) == 1
