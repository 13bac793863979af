"""The page of the API's description comes whole from this coordinator, and the browser is told to keep it so."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from yarl import URL

from coordinator.docs_page import FILES
from tests.coordinator.conftest import Cluster


async def test_the_page_names_only_files_that_are_served(cluster: Cluster) -> None:
    response, page = await cluster.get("/docs")
    assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.decode())
    assert {f"/docs/{name}" for name in FILES} <= set(loaded)
    for path in loaded:
        response, _ = await cluster.get(path)
        assert response.status == 200


@pytest.mark.parametrize("path", ["/docs", *(f"/docs/{name}" for name in FILES)])
async def test_the_browser_is_told_to_load_nothing_from_elsewhere(cluster: Cluster, path: str) -> None:
    response, _ = await cluster.get(path)
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["README.md", "index.html", "LICENSE", "nope.js", "..%2fapp.py", "%2e%2e", "."]
)
async def test_only_what_the_page_loads_is_served(cluster: Cluster, name: str) -> None:
    async with cluster.session.get(URL(f"{cluster.url}/docs/{name}", encoded=True)) as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["code"] == "not_found"


def test_no_validator_and_no_source_map_is_asked_for() -> None:
    folder = files("coordinator").joinpath("swagger_ui")
    assert "validatorUrl: null" in folder.joinpath("start.js").read_text()
    assert "sourceMappingURL=" not in folder.joinpath("swagger-ui.css").read_text()[-500:]


def test_the_licence_lies_beside_the_files() -> None:
    folder = files("coordinator").joinpath("swagger_ui")
    assert "Apache License" in folder.joinpath("LICENSE").read_text()
    assert "SmartBear" in folder.joinpath("NOTICE").read_text()
