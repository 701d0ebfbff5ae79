"""A person in JupyterLab: moves the records slider, presses Start, watches, opens the report, steps through stage 3."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.e2e.conftest import WORKBENCH, Workbench
from workbench.base.settings import NOTEBOOKS, PROJECT
from workbench.services.processes import accepts_connections, free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: nobody tried JupyterLab; `make services` installs it"),
    pytest.mark.timeout(420),
]
TOKEN = "token-of-this-test"
WAIT = 120_000  # milliseconds; a machine that is busy takes its time
RUN_WAIT = 240_000
STAGES = ("generate", "ingest", "process", "transform", "export")


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab and where screenshots go."""

    address: str
    pictures: Path

    def open(self, browser: Browser, path: str) -> Page:
        """Open a notebook of the lab in a page of its own."""
        page = browser.new_page(viewport={"width": 1400, "height": 1150})
        page.set_default_timeout(WAIT)
        page.goto(f"{self.address}/lab/tree/{path}?reset&token={TOKEN}")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        # Cells that are run before the kernel is connected are lost without a word.
        page.get_by_text("Workbench (Python 3) | Idle").wait_for()
        return page

    def picture(self, page: Page, name: str) -> None:
        """Save what is on the screen."""
        page.screenshot(path=self.pictures / f"{name}.png")


@pytest.fixture(scope="module")
def lab(apart: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """`workbench lab` as a person starts it, on a port of its own."""
    port, pictures = free_port(), Path(os.environ.get("TEST_PICTURES", tmp_path_factory.mktemp("pictures")))
    pictures.mkdir(parents=True, exist_ok=True)
    options = ["--no-browser", f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}"]
    environment = {**os.environ, **apart.environment}
    with (pictures / "lab.log").open("wb") as log:
        server = subprocess.Popen([WORKBENCH, "lab", *options], env=environment, cwd=PROJECT, stderr=log, stdout=log)
        try:
            _await_server(port, server)
            yield Lab(f"http://127.0.0.1:{port}", pictures)
        finally:
            server.terminate()
            server.wait(60)


def _await_server(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + WAIT / 1000
    while not accepts_connections("127.0.0.1", port):
        assert server.poll() is None, "JupyterLab ended"
        assert time.monotonic() < end, "JupyterLab did not start"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def run_all(page: Page) -> None:
    """Choose Run > Run All Cells."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    page.get_by_text("Run All Cells", exact=True).click()


def statuses(panel: Locator) -> dict[str, str]:
    rows = panel.locator("tr[data-stage]").evaluate_all("rows => rows.map(r => [r.dataset.stage, r.dataset.status])")
    return dict(rows)


def watch(panel: Locator) -> list[dict[str, str]]:
    """Look at the stages until all are completed; returns the different sights in their order."""
    seen: list[dict[str, str]] = []
    end = time.monotonic() + RUN_WAIT / 1000
    while time.monotonic() < end:
        present = statuses(panel)
        if present and (not seen or present != seen[-1]):
            seen.append(present)
        if present and set(present.values()) <= {"reused", "completed", "failed"} and len(seen) > 2:
            return seen
        time.sleep(0.1)
    pytest.fail(f"the run did not end: {seen[-1] if seen else 'nothing was seen'}")


def test_a_run_is_started_cancelled_resumed_and_read_in_jupyterlab(
    lab: Lab, browser: Browser, apart: Workbench
) -> None:
    page = lab.open(browser, "notebooks/00_workbench.ipynb")
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if _is_foreign(request.url) else None)
    panel = open_panel(page)
    panel.locator(".workbench-start").click()
    page.locator("tr[data-stage=ingest][data-status=running]").wait_for(timeout=RUN_WAIT)
    panel.locator(".workbench-cancel").click()
    panel.locator(".workbench-resume:enabled").wait_for(timeout=RUN_WAIT)
    lab.picture(page, "panel-cancelled")
    panel.locator(".workbench-resume").click()
    page.locator("tr[data-stage=generate][data-status=reused]").wait_for(timeout=RUN_WAIT)
    panel.scroll_into_view_if_needed()
    lab.picture(page, "panel-running")
    seen = watch(panel)
    assert seen[-1]["generate"] == "reused"
    assert set(seen[-1].values()) == {"reused", "completed"}
    sights = [next((name for name in STAGES if sight.get(name) == "running"), None) for sight in seen]
    running = [name for name in dict.fromkeys(sights) if name]
    assert tuple(running) == STAGES[-len(running) :], "the stage that was cancelled, and all after it"
    run = apart.json("show")
    assert (run["trigger"], run["status"], run["parameters"]["records"]) == ("panel", "completed", 1000)
    assert run["parameters"]["stage_timeout"] == 3600
    shown = panel.get_by_label("Look at run").evaluate("list => list.selectedOptions[0]?.text ?? 'nothing'")
    assert shown.startswith(run["pipeline_id"]), shown
    lab.picture(page, "panel-completed")
    read_report(lab, page, panel)
    assert foreign == []


def open_panel(page: Page) -> Locator:
    """Run the notebook of the control panel, and choose 1,000 records with the slider."""
    run_all(page)
    panel = page.locator(".workbench-panel")
    panel.wait_for()
    panel.locator(".noUi-handle").first.focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    expect(panel.locator(".parameter-records input")).to_have_value("1000", timeout=WAIT)
    return panel


def read_report(lab: Lab, page: Page, panel: Locator) -> None:
    """Open the report of stage 3, look at its figures, and go on to a later stage's and an earlier one's."""
    with page.expect_popup() as popup:
        panel.get_by_role("link", name="report").nth(3).click()
    report = popup.value
    report.locator(".plot.drawn .main-svg").first.wait_for(timeout=WAIT)
    lab.picture(report, "report")
    for name, heading in (("Export", "5 · Export"), ("Ingest", "2 · Ingest")):
        report.get_by_role("link", name=name, exact=True).click()
        report.get_by_role("heading", name=heading).wait_for(timeout=WAIT)


def test_stage_3_is_stepped_through_on_a_chosen_run_and_nothing_of_it_is_saved(
    lab: Lab, browser: Browser, apart: Workbench
) -> None:
    chosen = apart.json("run", "--records", "300")["pipeline_id"]
    page = lab.open(browser, "notebooks/03_process.ipynb")
    page.locator(".jp-Notebook .jp-Cell").nth(1).click()
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    chooser = page.locator(".workbench-chooser select")
    chooser.wait_for()
    label = next(text for text in chooser.locator("option").all_inner_texts() if text.startswith(chosen))
    chooser.select_option(label=label)
    run_all(page)
    page.locator(".jp-OutputArea", has_text="processed = loaded").first.wait_for(timeout=RUN_WAIT)
    expect(page.locator(".jp-Notebook .js-plotly-plot")).to_have_count(2, timeout=WAIT)
    page.locator(".jp-Notebook .js-plotly-plot").first.scroll_into_view_if_needed()
    lab.picture(page, "notebook-03")
    copy = apart.json("show")
    assert (copy["derived_from"], copy["stages"][2]["status"]) == (chosen, "completed")
    assert copy["stages"][2]["interactive"]
    assert not apart.json("show", chosen)["stages"][2]["interactive"]
    before = (NOTEBOOKS / "03_process.ipynb").read_bytes()
    page.keyboard.press("Control+s")
    page.locator(".jp-mod-dirty").wait_for(state="detached", timeout=WAIT)
    assert (NOTEBOOKS / "03_process.ipynb").read_bytes() == before


def test_jupyterlab_opens_on_the_panel_with_files_and_contents_and_keeps_its_token(lab: Lab, browser: Browser) -> None:
    page = browser.new_context(color_scheme="dark").new_page()
    page.goto(f"{lab.address}/lab")
    assert "/login" in page.url
    page.goto(f"{lab.address}/?token={TOKEN}")
    expect(page.locator("#jp-main-dock-panel .lm-mod-current .lm-TabBar-tabLabel")).to_have_text(
        "00_workbench.ipynb", timeout=WAIT
    )
    page.locator("#filebrowser").get_by_text("01_generate.ipynb").wait_for(timeout=WAIT)
    page.locator("#table-of-contents").get_by_text("Control panel").wait_for(timeout=WAIT)
    lab.picture(page, "workspace-dark")
    page.context.close()


def _is_foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))
