"""A coordinator in this process, over real HTTP and the real channel, in front of stub tiers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.api_v1 import STICKY
from coordinator.app import App
from coordinator.journal import Journal
from coordinator.keys import KeyRing
from tests.coordinator.stub_tiers import (
    JPEG,
    StubMinion,
    StubPreprocessor,
    card,
    model_row,
    ok,
    version_row,
    write_routing,
)

TAGS = {"tags": [{"name": "beach", "confidence": 0.982}]}
CAPTION = {"caption": {"text": "a beach", "confidence": 0.5}}

# A caller whose share of tags is not the canary's, so that no test meets it by chance.
PROMOTED = "not a canary"

PARAMS = {
    "max_tags": {"type": "integer", "default": 30, "minimum": 1, "maximum": 100},
    "threshold": {"type": "number", "default": 0.5, "minimum": 0.0, "maximum": 1.0},
    "nested": {"type": "boolean", "default": False},
    "style": {"type": "string", "default": "plain", "enum": ["plain", "rich"], "max_length": 16},
    "note": {"type": "string", "default": "", "enum": None, "max_length": 8},
}


class Cluster:
    """Three models (tags in three versions) behind one coordinator."""

    def __init__(self, folder: Path, keys: KeyRing | None = None) -> None:
        self.routing = folder / "routing.json"
        self.preprocessor = StubPreprocessor()
        self.tags = StubMinion("tags", "3.1", lambda header, payload: ok(TAGS))
        self.new_tags = StubMinion("tags", "3.2", lambda header, payload: ok(TAGS))
        self.score = StubMinion("aesthetics", "2.4", lambda header, payload: ok({"score": 0.731}))
        self.caption = StubMinion("captions", "1.4", lambda header, payload: ok(CAPTION))
        self.log = io.StringIO()
        self.app = App(self.routing, journal=Journal("coordinator", stream=self.log), keys=keys)
        self.url = ""
        self.operations_url = ""
        self.defaults = ["tags", "aesthetics", "captions"]
        self._session: aiohttp.ClientSession | None = None

    @property
    def tiers(self) -> list[Any]:
        return [self.preprocessor, self.tags, self.new_tags, self.score, self.caption]

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    def models(self) -> dict[str, Any]:
        """The routing file's models, as a fresh copy to change."""
        old = version_row(
            [], card("tags", "2.9", output="tags"), state="failed", problem="worker died", wanted=1
        )
        stable = version_row([self.tags.address], card("tags", "3.1", output="tags", params=PARAMS))
        canary = version_row(
            [self.new_tags.address], card("tags", "3.2", output="tags", params=PARAMS), canary_percent=5
        )
        score = version_row([self.score.address], card("aesthetics", "2.4", output="score"))
        caption = version_row([self.caption.address], card("captions", "1.4", size=(3, 3), output="caption"))
        tensor = {"kind": "tensor", "shape": [4], "dtype": "float32"}
        vectors = version_row([self.score.address], card("vectors", "1.0", input=tensor))
        return {
            "tags": model_row("3.1", {"2.9": old, "3.1": stable, "3.2": canary}, {"candidate": "3.2"}),
            "aesthetics": model_row("2.4", {"2.4": score}),
            "captions": model_row("1.4", {"1.4": caption}),
            "vectors": model_row("1.0", {"1.0": vectors}),
        }

    def write(self, models: dict[str, Any] | None = None, preprocessors: list[str] | None = None) -> None:
        """Put a routing file in place."""
        prepared = [self.preprocessor.address] if preprocessors is None else preprocessors
        write_routing(self.routing, self.models() if models is None else models, prepared, self.defaults)

    async def reroute(
        self, models: dict[str, Any] | None = None, preprocessors: list[str] | None = None
    ) -> None:
        """Write the file and put it in force."""
        self.write(models, preprocessors)
        await self.app.directory.refresh()

    async def start(self) -> None:
        for tier in self.tiers:
            await tier.start()
        self.write()
        ports = await self.app.start(("127.0.0.1", 0), ("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{ports['public']}"
        self.operations_url = f"http://127.0.0.1:{ports['operations']}"
        self.own_url = f"http://127.0.0.1:{ports['http']}"
        self._session = aiohttp.ClientSession(auto_decompress=False, headers={STICKY: PROMOTED})
        async with asyncio.timeout(5):
            while not self.app.readiness()[0]:
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        await self.session.close()
        await self.app.drain(0.0)
        for tier in self.tiers:
            await tier.close()

    async def post(
        self,
        body: Any = JPEG,
        query: str = "",
        *,
        path: str = "/v1/analyze",
        headers: dict[str, str] | None = None,
    ) -> tuple[aiohttp.ClientResponse, Any]:
        """POST and the parsed JSON answer. The query goes out exactly as written."""
        from yarl import URL

        url = URL(f"{self.url}{path}{'?' + query if query else ''}", encoded=True)
        async with self.session.post(url, data=body, headers=headers or {}) as response:
            await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return response, (await response.json(content_type=None) if is_json else await response.read())

    async def get(
        self, path: str, *, operations: bool = False, method: str = "GET", **headers: str
    ) -> tuple[aiohttp.ClientResponse, Any]:
        """GET and the parsed JSON answer, or its bytes."""
        base = self.operations_url if operations else self.url
        async with self.session.request(method, base + path, headers=headers) as response:
            body = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "") and body
            return response, (await response.json(content_type=None) if is_json else body)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A running cluster of stubs."""
    found = Cluster(tmp_path)
    await found.start()
    try:
        yield found
    finally:
        await found.close()


@pytest.fixture
def pointers() -> Callable[[Any], list[str]]:
    """The pointers of a problem's errors."""
    return lambda problem: [each["pointer"] for each in problem["errors"]]
