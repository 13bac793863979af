"""A thousand slow callers at once, at the real limits: all are closed, and who asks properly does not notice."""

from __future__ import annotations

import statistics
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.process_figures import descriptors, rss_mb
from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.slow_clients import SlowClients
from tests.cluster.steady_load import Ended, SteadyLoad
from tests.cluster.toy_packages import write_package, write_photo

CALL = "/v1/analyze?models=bright"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    package = write_package(tmp_path / "packages", "bright")
    with running_cluster(tmp_path / "site", [package]) as running:
        yield running


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def p99_ms(calls: list[Ended]) -> float:
    return statistics.quantiles([call.seconds * 1000 for call in calls], n=100)[98]


@pytest.mark.slow
def test_a_thousand_slow_callers_are_closed_within_30_s_and_nobody_notices(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    photo = write_photo(tmp_path / "photo.png").read_bytes()
    url, operations = cluster.url, cluster.operations_url
    [coordinator] = cluster.pids("coordinator")
    with SteadyLoad(url, photo, path=CALL, per_s=25) as warming:
        time.sleep(3)
    with SteadyLoad(url, photo, path=CALL, per_s=25) as alone:
        time.sleep(10)
    before_mb, before_descriptors, most_mb = rss_mb(coordinator), descriptors(coordinator), 0.0
    kinds = {"header": 240, "body": 240, "long": 40, "reader": 240, "idle": 240}
    scrapes_ms = []
    with SlowClients(address(url), kinds) as slow, SteadyLoad(url, photo, path=CALL, per_s=25) as beside:
        deadline = time.monotonic() + 40
        while slow.still_open and time.monotonic() < deadline:
            began = time.monotonic()
            urllib.request.urlopen(f"{operations.rsplit('/metrics')[0]}/metrics", timeout=5).read()
            scrapes_ms.append((time.monotonic() - began) * 1000)
            most_mb = max(most_mb, rss_mb(coordinator))
            time.sleep(0.3)
    assert slow.still_open == 0
    longest = {kind: max(seconds for each, seconds in slow.lived if each == kind) for kind in kinds}
    figures = (
        f"1000 slow callers: closed after {', '.join(f'{kind} {s:.1f} s' for kind, s in longest.items())}; "
        f"p99 {p99_ms(alone.ended):.1f} ms alone, {p99_ms(beside.ended):.1f} ms beside them "
        f"(median {statistics.median(c.seconds for c in alone.ended) * 1000:.1f}, "
        f"{statistics.median(c.seconds for c in beside.ended) * 1000:.1f}); "
        f"memory +{most_mb - before_mb:.1f} MB; slowest scrape {max(scrapes_ms):.0f} ms"
    )
    print(figures)
    assert {call.status for call in (*warming.ended, *alone.ended, *beside.ended)} == {200}, figures
    assert max(longest.values()) <= 31, figures
    assert most_mb - before_mb < 50, figures
    # an open loop on a shared machine: the goal is 1.2, a stall of everybody is what this must never miss
    assert p99_ms(beside.ended) <= 500, figures
    assert max(scrapes_ms) <= 500, figures
    cluster.wait(lambda: descriptors(coordinator) <= before_descriptors + 2, "the sockets to be closed", 5)


def test_a_stalled_upload_holds_no_place_in_any_tier(cluster: RunningCluster, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.png").read_bytes()
    url = cluster.url

    def metrics(base: str) -> str:
        return urllib.request.urlopen(f"{base}/metrics", timeout=5).read().decode()  # type: ignore[no-any-return]

    preprocessor = f"http://127.0.0.1:{cluster.port('preprocessor', 'http')}"
    with SlowClients(address(url), {"long": 50}) as slow:
        time.sleep(0.5)
        assert 'crema_pending{model="",tier="coordinator",version=""} 0.0' in metrics(
            cluster.operations_url.rsplit("/metrics")[0]
        )
        assert 'crema_pending{model="",tier="preprocessor",version=""} 0.0' in metrics(preprocessor)
        assert cluster.post(photo, models="bright")[0] == 200
        assert slow.still_open == 50
