"""A real browser on the page, and whatever goes wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, sync_playwright
from playwright.sync_api import Page as Tab

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the page is not tried; `make services`")
_QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium for the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Browser, forgiven: str = "status of 4", **options: Any) -> Iterator[Tab]:
    """Open a tab with cookies of its own; errors in it fail the test, but for what is forgiven."""
    trouble: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and forgiven not in message.text:
            trouble.append(message.text)

    context = browser.new_context(**options)
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    opened.on("console", heard)
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
    try:
        yield opened
    finally:
        context.close()
    assert trouble == []


def what_is_seen(tab: Tab) -> str:
    """Return the words that can be seen on a run's page, without seconds that go on."""
    return str(
        tab.evaluate("""() => {
            const own = [...document.querySelectorAll("[data-running], #said")];
            for (const each of own) each.hidden = true;
            const words = document.querySelector("main").innerText;
            for (const each of own) each.hidden = false;
            return words;
        }""")
    )
