"""A person at the page: `workbench up`, Trigger, watch, read, download; what fails says why; what is unwanted stops."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from tests.e2e.conftest import Workbench
from tests.web.browsing import chromium, needs_browser, tab, what_is_seen
from workbench.services.processes import free_port
from workbench.stage.pipeline import STAGE_NAMES

pytestmark = [needs_browser, pytest.mark.timeout(900)]
WAIT = 240_000  # milliseconds; a machine that is busy takes its time
LOOK = Path(__file__).with_name("sights.js").read_text("utf-8")
DESK = {"viewport": {"width": 1280, "height": 1000}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@dataclass(frozen=True)
class Visited:
    """A workbench that is up, a browser, and where screenshots go."""

    workbench: Workbench
    address: str
    browser: Browser
    pictures: Path

    def trigger(self, opened: Tab, **values: str) -> str:
        """Fill in the form and send it; returns the id of the run that the page then shows."""
        opened.goto(self.address)
        for label, value in values.items():
            opened.get_by_label(label, exact=False).first.fill(value)
        opened.get_by_role("button", name="Trigger pipeline").click()
        opened.wait_for_url("**/runs/2*")
        return opened.url.rpartition("/")[2]

    def picture(self, opened: Tab, name: str) -> None:
        """Save the page as it is, whole."""
        opened.screenshot(path=self.pictures / f"page-{name}.png", full_page=True)

    def pictures_of(self, path: str, name: str) -> None:
        """Save it as it looks on a phone and in the dark."""
        for look, options in (("phone", PHONE), ("dark", DESK | {"color_scheme": "dark"})):
            with tab(self.browser, **options) as opened:
                opened.goto(f"{self.address}{path}")
                opened.wait_for_load_state()
                self.picture(opened, f"{name}-{look}")


@pytest.fixture(scope="module")
def visited(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    """Everything up in a home of its own, and a real browser."""
    port, pictures = free_port(), Path(os.environ.get("TEST_PICTURES", tmp_path_factory.mktemp("pictures")))
    pictures.mkdir(parents=True, exist_ok=True)
    workbench = Workbench({"WORKBENCH_HOME": str(home / "visited"), "WORKBENCH_WEB_PORT": str(port)})
    done = workbench("up")
    try:
        assert done.returncode == 0, done.stderr
        with chromium() as browser:
            yield Visited(workbench, f"http://127.0.0.1:{port}", browser, pictures)
    finally:
        workbench("down")


def test_a_run_is_triggered_watched_left_found_again_read_and_downloaded(visited: Visited) -> None:
    with tab(visited.browser, **DESK) as stayed:
        run = visited.trigger(stayed, Records="1000", Defect="0.02")
        stayed.evaluate(LOOK)
        path = f"/runs/{run}"
        with tab(visited.browser, **DESK) as closed:
            closed.goto(f"{visited.address}{path}")
            expect(_badge(closed, "ingest")).to_contain_text("running", timeout=WAIT)
        visited.picture(stayed, "running")
        expect(_badge(stayed, "process")).to_contain_text("running", timeout=WAIT)
        with tab(visited.browser, **DESK) as reopened:
            reopened.goto(f"{visited.address}{path}")
            _same(lambda: (what_is_seen(stayed), what_is_seen(reopened)), stayed)
        expect(stayed.locator("#headline .badge")).to_contain_text("completed", timeout=WAIT)
        _turned_in_order(stayed.evaluate("window.sights"))
        visited.picture(stayed, "completed")
        visited.pictures_of(path, "completed")
        visited.pictures_of("", "start")
        _reads_a_report(visited, stayed)
        _is_right(visited.workbench.json("show", run), _downloaded(stayed))
    with tab(visited.browser, **DESK) as opened:
        opened.goto(f"{visited.address}/runs")
        expect(opened.locator(".plot.drawn")).to_have_count(4)
        visited.picture(opened, "runs")


def _badge(opened: Tab, stage: str) -> Any:
    return opened.locator(f"#stage-{stage} summary .badge")


def _same(sights: Callable[[], tuple[str, str]], opened: Tab) -> None:
    """Compare two screens that change all the time: each look takes a moment, so a few are allowed."""
    for _ in range(150):
        one, other = sights()
        if one == other:
            return
        opened.wait_for_timeout(200)
    assert one == other


def _turned_in_order(sights: list[str]) -> None:
    """Every stage was seen running, then completed, and so was a cell of each; `sights` stand in their order."""
    expected = [f"stage-{stage} {status}" for stage in STAGE_NAMES for status in ("running", "completed")]
    assert [sight for sight in sights if sight in expected] == expected
    for stage in STAGE_NAMES:
        of_cells = [sight for sight in sights if sight.startswith(f"cell-{stage}-1-")]
        assert any(
            sight.endswith(" running") and sight.replace("running", "completed") in of_cells[number:]
            for number, sight in enumerate(of_cells)
        ), f"no cell of {stage} was seen to turn"


def _reads_a_report(visited: Visited, stayed: Tab) -> None:
    stayed.locator("#stage-process summary").click()
    stayed.locator("#stage-process").get_by_role("link", name="Report").click()
    stayed.locator(".plot.drawn .main-svg").first.wait_for()
    expect(stayed.get_by_role("heading", name="Process").first).to_be_visible()
    visited.picture(stayed, "report")
    for stage in ("Transform", "Generate"):
        stayed.get_by_role("link", name=stage, exact=True).click()
        expect(stayed.get_by_role("heading", name=stage).first).to_be_visible()
    for _ in range(3):
        stayed.go_back()
    expect(stayed.locator("#headline .badge")).to_contain_text("completed")


def _downloaded(stayed: Tab) -> dict[str, Any]:
    with stayed.expect_download() as download:
        stayed.get_by_role("link", name="Download output").click()
    document: dict[str, Any] = json.loads(download.value.path().read_bytes())
    return document


def _is_right(shown: dict[str, Any], output: dict[str, Any]) -> None:
    """Check the output and the way its records went."""
    counts = shown["records"]
    assert (shown["status"], shown["trigger"], counts["generated"]) == ("completed", "page", 1000)
    assert counts["rejected"] > 0
    assert counts["generated"] == counts["ingested"] + counts["rejected"]
    assert counts["ingested"] == counts["processed"] == counts["transformed"] == counts["exported"]
    assert output["record_count"] == len(output["data"]) == counts["exported"]


def test_a_run_beyond_the_limit_fails_and_the_page_names_stage_cell_and_reason(visited: Visited) -> None:
    with tab(visited.browser, **DESK) as opened:
        run = visited.trigger(opened, Records="1000", Defect="0.5")
        expect(opened.locator("#headline .badge")).to_contain_text("failed", timeout=WAIT)
        error = visited.workbench.json("show", run)["error"]
        expect(opened.locator("#wrong")).to_have_text(f"Stage ingest, cell {error['cell']}: {error['name']}")
        expect(opened.locator("#headline .message")).to_contain_text("records rejected (")
        expect(opened.locator(f"#cell-ingest-1-{error['cell']} .badge")).to_contain_text("failed")
        expect(_badge(opened, "process")).to_contain_text("pending")
        expect(opened.get_by_role("button", name="Open this failure")).to_be_visible()
        visited.picture(opened, "failed")
    visited.pictures_of(f"/runs/{run}", "failed")


def test_a_run_is_cancelled_by_its_button_and_says_so(visited: Visited) -> None:
    with tab(visited.browser, **DESK) as opened:
        run = visited.trigger(opened, Records="3000000")
        expect(_badge(opened, "generate")).to_contain_text("running", timeout=WAIT)
        opened.get_by_role("button", name="Cancel run").click()
        expect(opened.locator("#headline > .headline .badge")).to_contain_text("cancelled", timeout=WAIT)
        expect(_badge(opened, "generate")).to_contain_text("cancelled")
        expect(opened.get_by_role("button", name="Resume")).to_be_visible()
        visited.picture(opened, "cancelled")
    assert visited.workbench.json("show", run)["status"] == "cancelled"
