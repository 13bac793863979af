"""A stranger with only `/docs` open, in a real browser: gets an answer for a photo, and is told what is wrong."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package, write_photo

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# what a browser of its own accord asks of its maker is switched off: the page's requests are what is looked at
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    if BROWSER is None:
        if os.environ.get("CREMA_REQUIRE_TOOLS"):
            pytest.fail("there is no Chromium; install it: apt-get install --no-install-recommends chromium")
        pytest.skip("needs Chromium: apt-get install --no-install-recommends chromium")
    folder = tmp_path_factory.mktemp("docs")
    package = write_package(folder / "packages", "tags")
    with running_cluster(folder / "site", [package], cluster_yaml="default_models: [tags]\n") as running:
        yield running


class Docs:
    """The page, opened. `asked` are the URLs that the browser asked for, `said` what its console shows."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.asked: list[str] = []
        self.said: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock")

    def try_out(self, operation: str, media_type: str | None = None) -> Any:
        """Open an operation and press *Try it out*."""
        block = self.page.locator(f"#operations-{operation}")
        block.locator(".opblock-summary").click()
        block.get_by_role("button", name="Try it out").click()
        if media_type is not None:
            block.locator(".opblock-section-request-body select").first.select_option(media_type)
        return block

    def execute(self, block: Any) -> tuple[int, dict[str, Any]]:
        """Press *Execute*; the status and the body that the page then shows."""
        block.get_by_role("button", name="Execute").click()
        table = block.locator(".live-responses-table tbody").first
        status = table.locator(".response-col_status").first.inner_text()
        body = table.locator(".response-col_description pre").first.inner_text()
        return int(status.split()[0]), json.loads(body)


@pytest.fixture(scope="module")
def browser(cluster: RunningCluster) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        try:
            yield launched
        finally:
            launched.close()


@pytest.fixture
def docs(browser: Any, cluster: RunningCluster) -> Iterator[Docs]:
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    yield Docs(page, cluster.url)
    page.close()


def test_a_photo_is_uploaded_through_the_page_which_asks_for_nothing_from_elsewhere(
    docs: Docs, photo: Path, tmp_path: Path
) -> None:
    block = docs.try_out("analyze-analyze")
    block.locator("input[type=file]").set_input_files(photo)
    status, answer = docs.execute(block)
    assert status == 200
    assert answer["results"]["tags"]["output"]["score"] == pytest.approx(0.4, abs=0.02)
    picture = tmp_path / "docs.png"
    docs.page.screenshot(path=picture)
    colours = Image.open(io.BytesIO(picture.read_bytes())).convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 200  # a page that came without its style sheet or script has a few
    assert "Swagger UI" not in docs.page.title()
    assert all(url.startswith((docs.url + "/", "data:", "blob:")) for url in docs.asked), docs.asked
    # a violation of the page's policy would be told here
    assert docs.said == []


def test_the_form_works_through_the_page(docs: Docs, tmp_path: Path) -> None:
    block = docs.try_out("analyze-analyze", "multipart/form-data")
    block.locator("input[type=file]").set_input_files(write_photo(tmp_path / "white.png", (255, 255, 255)))
    status, answer = docs.execute(block)
    assert (status, answer["status"]) == (200, "ok"), answer


def test_the_example_of_the_json_form_is_a_photo_that_can_be_sent(docs: Docs) -> None:
    block = docs.try_out("analyze-analyze", "application/json")
    text = block.locator(".opblock-section-request-body textarea")
    members = json.loads(text.input_value())
    text.fill(json.dumps({"image": members["image"]}))
    status, answer = docs.execute(block)
    assert (status, answer["image"]["format"]) == (200, "png")


def test_a_mistake_is_told_with_what_to_do_next(docs: Docs) -> None:
    block = docs.try_out("analyze-analyze", "application/json")
    block.locator(".opblock-section-request-body textarea").fill('{"imagee": 1}')
    status, problem = docs.execute(block)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert "did you mean image?" in problem["detail"]
    assert "did you mean image?" in block.locator(".live-responses-table").inner_text()
