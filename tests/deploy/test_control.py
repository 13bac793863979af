"""Control: verbs over the socket, with their progress, their end, and what they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.control import Control
from deploy.pointers import ReleaseRefused
from deploy.refusals import NotServed
from deploy.running_cluster import NotRunning, Refused, RunningCluster


async def _verb(asked: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    progress("checking")
    await asyncio.sleep(0.01)
    if asked["what"] == "refused":
        raise NotServed("load: no weights", "Traceback")
    if asked["what"] == "plain":
        raise ReleaseRefused("it is the default\n  try: another")
    if asked["what"] == "bug":
        raise RuntimeError("oh")
    return {"revision": 7}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[RunningCluster]:
    control = Control(tmp_path / "c.sock", dict, {"release": _verb})
    await control.start()
    yield RunningCluster(tmp_path, 1, tmp_path / "c.sock", None)
    await control.close()


async def run(cluster: RunningCluster, what: str) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    return await asyncio.to_thread(cluster.run, "release", {"what": what}, said.append), said


async def test_a_verb_tells_its_progress_and_what_it_did(cluster: RunningCluster) -> None:
    assert await run(cluster, "fine") == ({"revision": 7}, ["checking"])


async def test_what_is_refused_carries_the_reason_and_the_traceback(cluster: RunningCluster) -> None:
    with pytest.raises(Refused, match="no weights") as refused:
        await run(cluster, "refused")
    assert refused.value.detail == "Traceback"
    with pytest.raises(Refused, match="it is the default"):
        await run(cluster, "plain")


async def test_a_bug_of_ours_is_told_as_one(cluster: RunningCluster) -> None:
    with pytest.raises(Refused, match="a bug of ours"):
        await run(cluster, "bug")


async def test_a_verb_on_a_supervisor_that_is_gone_says_so(tmp_path: Path) -> None:
    gone = RunningCluster(tmp_path, 1, tmp_path / "c.sock", None)
    with pytest.raises(NotRunning):
        gone.run("release", {}, print)
