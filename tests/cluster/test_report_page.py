"""The page of a load run in a real browser, with scripts switched off: it shows its plots and asks nobody for anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadtest.report import build
from loadtest.report_html import page
from tests.cluster.test_docs_page import ARGUMENTS, BROWSER
from tests.loadtest.load_runs import load_run


def test_the_page_shows_without_scripts_and_without_a_network(tmp_path: Path) -> None:
    if BROWSER is None:
        if os.environ.get("CREMA_REQUIRE_TOOLS"):
            pytest.fail("there is no Chromium; install it: apt-get install --no-install-recommends chromium")
        pytest.skip("needs Chromium: apt-get install --no-install-recommends chromium")
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(page(build(load_run(), price_per_hour=0.9)), encoding="utf-8")
    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        try:
            opened = browser.new_context(java_script_enabled=False).new_page()
            opened.on("request", lambda request: asked.append(request.url))
            opened.on("console", lambda message: said.append(message.text))
            opened.goto(path.as_uri())
            plots = [plot.bounding_box() for plot in opened.locator("svg").all()]
            line = opened.locator("svg path.ok").first.bounding_box()
            shown = opened.locator("body").inner_text()
        finally:
            browser.close()
    assert asked == [path.as_uri()] and said == []
    assert len(plots) == 7 and all(box is not None and box["height"] > 50 for box in plots)
    assert line is not None and line["width"] > 100
    assert "captions@3.1" in shown and "100/s" in shown
