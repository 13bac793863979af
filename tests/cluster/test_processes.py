"""`coordinator.processes: 2`: one public port, one set of figures, and no call lost when one of the two ends."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.running import RunningCluster, is_alive, running_cluster
from tests.cluster.toy_packages import write_package, write_photo

TWO = 'coordinator: {listen: "127.0.0.1:0", operations: "127.0.0.1:0", processes: 2}\ndefault_models: [bright]\n'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    folder = tmp_path_factory.mktemp("processes")
    package = write_package(folder / "packages", "bright")
    with running_cluster(folder / "site", [package], cluster_yaml=TWO) as running:
        running.wait_all_ready()
        yield running


def requests_counted(cluster: RunningCluster) -> int:
    """What the merged figures say of whole calls that succeeded."""
    text = urllib.request.urlopen(f"{cluster.operations_url}/metrics", timeout=10).read().decode()
    found = re.search(r'crema_requests_total{code="200",model="",tier="coordinator",version=""} (\S+)', text)
    return int(float(found[1])) if found else 0


class Callers:
    """Four threads that call in a row, each call on a new connection, until stopped."""

    def __init__(self, url: str, photo: bytes) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.told: list[str] = []
        self._url = url
        self._photo = photo
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(4)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self) -> None:
        while not self._is_over.is_set():
            try:
                request = urllib.request.Request(f"{self._url}/v1/analyze", data=self._photo)
                with urllib.request.urlopen(request, timeout=20) as response:
                    response.read()
                    self.statuses[response.status] += 1
            except urllib.error.HTTPError as refusal:
                self.statuses[refusal.code] += 1
                self.told.append(refusal.read().decode())
            except OSError as error:
                self.statuses[type(error).__name__] += 1
            time.sleep(0.005)


def test_two_processes_serve_one_port_and_the_status_lists_both(cluster: RunningCluster) -> None:
    first, second = cluster.processes("coordinator")
    assert first["pid"] != second["pid"]
    assert first["ports"]["public"] == second["ports"]["public"]
    assert first["ports"]["operations"] == second["ports"]["operations"]
    assert first["ports"]["http"] != second["ports"]["http"]


def test_one_listener_tells_the_figures_of_both(cluster: RunningCluster) -> None:
    photo = write_photo(cluster.folder / "photo.png").read_bytes()
    before = requests_counted(cluster)
    for _ in range(20):
        assert cluster.post(photo)[0] == 200
    # whichever of the two answers
    assert {requests_counted(cluster) - before for _ in range(6)} == {20}


def test_one_that_drains_loses_nothing_and_is_started_again(cluster: RunningCluster) -> None:
    photo = write_photo(cluster.folder / "photo.png").read_bytes()
    victim = cluster.pids("coordinator")[0]
    with Callers(cluster.url, photo) as callers:
        os.kill(victim, signal.SIGTERM)
        cluster.wait(lambda: not is_alive(victim), "the drained process to end")
        cluster.wait_all_ready()
    assert set(callers.statuses) == {200}, callers.told
    assert callers.statuses[200] > 20
    assert victim not in cluster.pids("coordinator")


def test_while_a_killed_one_is_started_again_the_other_serves(cluster: RunningCluster) -> None:
    photo = write_photo(cluster.folder / "photo.png").read_bytes()
    counted, victim = requests_counted(cluster), cluster.pids("coordinator")[1]
    with Callers(cluster.url, photo) as callers:
        time.sleep(0.2)
        os.kill(victim, signal.SIGKILL)
        cluster.wait(lambda: len(set(cluster.pids("coordinator")) - {victim}) == 2, "another process")
        cluster.wait_all_ready()
    answered = callers.statuses.pop(200)
    assert answered > 20
    # those in flight in it were reset, and no others
    assert sum(callers.statuses.values()) <= 4
    # its counts are kept, but for those of its last 20 ms
    assert requests_counted(cluster) >= counted + answered - 20
