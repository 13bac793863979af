"""A coordinator that has hardly any descriptors left serves who is there, refuses who comes, and recovers at once."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tests.cluster.process_figures import cpu_s, descriptors
from tests.cluster.running import running_cluster
from tests.cluster.toy_packages import write_package, write_photo

IDLE = 200
EXHAUSTED_S = 4.0


class KeptCallers:
    """Callers with a connection each, kept open, who ask one after the other until `stop`. `answers` holds (status, s)."""

    def __init__(self, address: str, photo: bytes, count: int) -> None:
        self.answers: list[tuple[int | str, float]] = []
        self._photo = photo
        self._stop = threading.Event()
        self._connections = [http.client.HTTPConnection(address, timeout=10) for _ in range(count)]
        for connection in self._connections:
            self._ask(connection)
        self._threads = [
            threading.Thread(target=self._run, args=(each,), daemon=True) for each in self._connections
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
        for connection in self._connections:
            connection.close()

    def _run(self, connection: http.client.HTTPConnection) -> None:
        while not self._stop.wait(0.05):
            self._ask(connection)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        began = time.monotonic()
        try:
            connection.request("POST", "/v1/analyze?models=bright", body=self._photo)
            response = connection.getresponse()
            response.read()
            # a connection that was closed is not opened again: that would be a new one
            outcome: int | str = "closed" if response.will_close else response.status
        except (OSError, http.client.HTTPException) as error:
            outcome = repr(error)
        self.answers.append((outcome, time.monotonic() - began))


def fresh(address: str) -> int | str:
    """A call on a new connection: its status, or how it was refused."""
    try:
        with urllib.request.urlopen(f"http://{address}/livez", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code
    except OSError as error:
        return type(getattr(error, "reason", error)).__name__


def test_descriptors_run_out_and_come_back(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.png").read_bytes()
    with running_cluster(tmp_path / "site", [write_package(tmp_path / "packages", "bright")]) as cluster:
        address = urlsplit(cluster.url).netloc
        operations = cluster.operations_url.rsplit("/metrics")[0]
        [coordinator] = cluster.pids("coordinator")
        resource.prlimit(coordinator, resource.RLIMIT_NOFILE, (128, 128))
        callers = KeptCallers(address, photo, 4)
        host, port = address.split(":")
        idle = [socket.create_connection((host, int(port)), timeout=5) for _ in range(IDLE)]
        try:
            before_s, began = cpu_s(coordinator), time.monotonic()
            refused, scrapes_ms = [], []
            while time.monotonic() < began + EXHAUSTED_S:
                refused.append(fresh(address))
                asked = time.monotonic()
                urllib.request.urlopen(f"{operations}/metrics", timeout=5).read()
                scrapes_ms.append((time.monotonic() - asked) * 1000)
                assert descriptors(coordinator) <= 128 - 24
                time.sleep(0.2)
            share = (cpu_s(coordinator) - before_s) / (time.monotonic() - began)
        finally:
            for each in idle:
                each.close()
        freed = time.monotonic()
        cluster.wait(lambda: fresh(address) == 200, "a new connection to be served", 5)
        recovered_s = time.monotonic() - freed
        callers.stop()
        figures = (
            f"descriptors out: {100 * share:.0f} % CPU, slowest scrape {max(scrapes_ms):.0f} ms, "
            f"new connections {set(refused)}, {len(callers.answers)} calls of those that were there, "
            f"slowest {1000 * max(seconds for _, seconds in callers.answers):.0f} ms; recovered in {recovered_s:.2f} s"
        )
        print(figures)
        assert {outcome for outcome, _ in callers.answers} == {200}, figures
        assert set(refused) <= {
            503,
            "ConnectionResetError",
            "ConnectionRefusedError",
            "RemoteDisconnected",
        }, figures
        assert share < 0.5, figures
        assert recovered_s <= 2, figures
        assert max(scrapes_ms) <= 500, figures
