"""axe-core finds no serious problem on any page, on a desk or on a phone, light or dark; the keyboard reaches all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from pipeline_lib.parameters import StageName
from tests.web.browsing import chromium, needs_browser, tab
from tests.web.by_hand import Worker
from tests.web.served import Page

pytestmark = needs_browser
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def addresses(worker: Worker) -> list[str]:
    """Every kind of page there is, in every state."""
    done, failed, running = worker.completed(), worker.failed(), worker.started()
    worker.stage(running, StageName.GENERATE)
    running.stage_started(StageName.INGEST)
    worker.cell(running, StageName.INGEST, 1)
    runs = [f"/runs/{each.pipeline_id}" for each in (done, failed, running)]
    compare = f"/compare?a={done.pipeline_id}&b={failed.pipeline_id}"
    return ["/", "/runs", *runs, f"/runs/{done.pipeline_id}/stages/ingest", compare, "/login", "/nope"]


@pytest.mark.parametrize("screen", SCREENS)
def test_no_page_has_a_serious_problem(browser: Browser, page: Page, addresses: list[str], screen: str) -> None:
    found = []
    with tab(browser, **SCREENS[screen]) as opened:
        for address in addresses:
            opened.goto(page.url + address)
            found += [(address, *each) for each in _serious(opened)]
    assert found == []


def _serious(opened: Tab) -> list[tuple[str, list[str]]]:
    """Return what axe-core calls serious or critical: the rule, and the elements that break it."""
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
