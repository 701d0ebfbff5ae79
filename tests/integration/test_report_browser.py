"""The report in a real browser: figures are drawn, nothing else runs, nothing is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page, sync_playwright

from workbench.notebook.report import render_report
from workbench.notebook.report_outputs import PLOTLY_MIME

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: `make services` installs it"),
    pytest.mark.promise("S11", "data show as text in reports and figures"),
]
ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>"
LINK = '<a href="javascript:alert(4)">press</a>'


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    figure = {
        "data": [{"type": "bar", "x": ["A", ATTACK], "y": [1, 2], "name": ATTACK, "hovertext": LINK}],
        "layout": {"title": {"text": f"{LINK} {ATTACK}"}, "xaxis": {"title": {"text": LINK}}},
    }
    outputs = [
        new_output("display_data", data={PLOTLY_MIME: figure}),
        new_output("display_data", data={"text/html": f"<table><tr><td>{ATTACK}{LINK}</td></tr></table>"}),
        new_output("display_data", data={"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{ATTACK}</svg>"}),
        new_output("stream", name="stdout", text=ATTACK),
    ]
    cell = new_code_cell("draw()", outputs=outputs)
    cell.metadata["workbench"] = {"status": "completed", "seconds": 0.1}
    notebook = new_notebook(cells=[cell], metadata={"workbench": {"status": "completed", "seconds": 1}})
    return render_report(notebook, tmp_path_factory.mktemp("report") / "report.html")


def opened(browser: Browser, report: Path, scheme: str) -> tuple[Page, list[str]]:
    """Open the report; returns the page and everything that must not happen on it, as it happens."""
    page = browser.new_page(color_scheme=scheme)
    trouble: list[str] = []
    page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda message: trouble.append(f"{message.type} {message.text}"))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.append(request.url) if request.url != report.as_uri() else None)
    page.goto(report.as_uri())
    page.locator(".plot.drawn .main-svg").first.wait_for()
    return page, [text for text in trouble if not text.startswith("data:")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_are_drawn_without_network_complaint_or_attack(scheme, browser, report):
    page, trouble = opened(browser, report, scheme)
    page.locator(".nsewdrag").first.hover()
    assert trouble == []
    assert page.locator("a[href^='javascript']").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('a')].every(a => !String(a.href.baseVal ?? a.href).startsWith('javascript'))"
    )


def test_a_script_put_into_the_page_later_does_not_run_either(browser, report):
    page, _ = opened(browser, report, "light")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.owned = 1'}))"
    )
    assert page.evaluate("window.owned") is None


def test_without_javascript_the_figure_is_told_in_words(browser, report):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(report.as_uri())
    assert page.locator(".plot figcaption").is_visible()
    assert "1 series" in page.locator(".plot figcaption").inner_text()
