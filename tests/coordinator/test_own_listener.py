"""The coordinator's own listener, for who runs the process: health with the routing's revision, and versions' figures."""

from __future__ import annotations

import aiohttp

from tests.coordinator.conftest import Cluster


async def test_it_says_which_routing_is_in_force_and_callers_are_not_told(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{cluster.own_url}/readyz") as answer:
            assert (await answer.json())["revision"] == cluster.app.directory.file_revision
        async with session.get(f"{cluster.url}/readyz") as answer:
            assert "revision" not in await answer.json()


async def test_it_has_the_figures_of_each_version_and_the_others_have_not(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{cluster.own_url}/versions") as answer:
            assert (answer.status, await answer.json()) == (200, {"versions": {}})
        for url in (cluster.url, cluster.operations_url):
            async with session.get(f"{url}/versions") as answer:
                assert answer.status == 404
