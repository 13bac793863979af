"""A real Prometheus finds, scrapes and understands a real cluster."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.conftest import Start
from tests.cluster.running import RunningCluster
from tests.cluster.stepped_load import stepped_load
from tests.cluster.toy_packages import write_package
from tests.prometheus_tools import Prometheus, promtool, said

CAPACITY_PER_S = 20.0


@pytest.fixture
def cluster(start: Start, tmp_path: Path) -> RunningCluster:
    package = write_package(tmp_path / "packages", "sleepy", predict="time.sleep(0.4)")
    running = start([package], cluster_yaml="default_models: [sleepy]\n")
    running.wait_serving()
    return running


EVERYWHERE = {"requests_total", "refused_total", "request_seconds", "pending", "places", "ready"}
GATED = {*EVERYWHERE, "items_total", "queue_wait_seconds", "busy_ratio", "load_ratio", "starting"}
SHOWN = {
    "coordinator": {*EVERYWHERE, "partial_total", "retries_total"},
    "preprocessor": {*GATED, "preprocess_seconds"},
    "minion": {
        *GATED, "batch_size", "batch_seconds", "worker_restarts_total", "dropped_total", "batch_splits_total",
        "model_load_seconds",
    },
}  # fmt: skip


def test_what_every_tier_shows_is_clean_and_complete(cluster: RunningCluster, photo: Path) -> None:
    assert cluster.post(photo.read_bytes())[0] == 200
    inner = {
        "minion": cluster.port("minion", "http", role="host"),
        "preprocessor": cluster.port("preprocessor", "http"),
    }
    urls = {tier: f"http://127.0.0.1:{port}" for tier, port in inner.items()}
    for tier, url in {"coordinator": cluster.operations_url, **urls}.items():
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            dump = answer.read()
        shown = set(
            re.findall(r"^crema_(\w+?)(?:_bucket|_count|_sum|_created)?(?:\{| )", dump.decode(), re.M)
        )
        # a decoder is replaced and work is dropped too rarely to be seen here
        assert SHOWN[tier] - shown <= ({"refused_total"} if tier == "preprocessor" else set()), tier
        ended = promtool("check", "metrics", given=dump)
        assert ended.returncode == 0 and not said(ended).strip(), said(ended)


async def test_the_rule_tells_how_many_replicas_are_wanted_and_scrapes_stay_quick(
    cluster: RunningCluster, photo: Path, tmp_path: Path
) -> None:
    prometheus = Prometheus(tmp_path / "prometheus", cluster.operations_url)
    try:
        found = prometheus.until("count by (tier) (up == 1) == 1", 20)
        assert {labels["tier"] for labels, _ in found} <= {"coordinator", "preprocessor", "minion"}
        prometheus.until("count(up == 1) == 3", 20)
        image = photo.read_bytes()  # noqa: ASYNC240 - nothing runs yet
        async with stepped_load(cluster.url, image, cluster.status, "sleepy") as load:
            load.turn(3 * CAPACITY_PER_S)
            await load.until(
                lambda: bool(prometheus.query('crema:replicas_wanted{model="sleepy"} > 2')), 25, "the rule"
            )
            [(labels, wanted)] = prometheus.query('crema:replicas_wanted{tier="minion"}')
            [(_, share)] = prometheus.query("crema:refused:share{tier='minion'}")
        assert (labels["model"], labels["version"]) == ("sleepy", "1.0")
        # three times one minion's capacity; second tries and chance make it a little more or less
        assert 3 <= wanted <= 5 and 0.4 < share < 0.8
        [(_, slowest)] = prometheus.query("max(max_over_time(scrape_duration_seconds[1m]))")
        assert slowest <= 0.5
    finally:
        prometheus.stop()
