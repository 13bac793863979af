"""Images by URL through a whole cluster: a store on loopback that may be asked, and a server beside it that may not."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.cluster.running import RunningCluster, is_alive, running_cluster
from tests.cluster.toy_packages import write_package, write_photo
from tests.preprocessor.fetch_servers import WebServer, answer, redirect_to

STORE = "127.0.0.1"
INSIDE = "127.0.0.2"
PLANTED = "a-planted-cluster-token"


class Servers:
    """The store and the server inside, on a thread of their own."""

    def __init__(self, photo: bytes) -> None:
        self.photo = photo
        self.store, self.inside = WebServer(), WebServer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._run(self.store.listen(STORE))
        self._run(self.inside.listen(INSIDE))
        gray, gzipped = answer(self.photo), answer(b"\x1f\x8b" + bytes(200), "Content-Encoding: gzip")
        self.store.answers = {
            "/photo.png": gray,
            "/moved": redirect_to("/photo.png"),
            "/inside": redirect_to(f"http://{INSIDE}:{self.inside.port}/secret"),
            "/page.jpg": answer(b"<html></html>" + bytes(100)),
            "/gone.jpg": answer(b"", status="404 Not Found"),
            "/gzip": gzipped,
            "/large": self.store.endless,
            "/slow": self.store.slow,
        }

    def close(self) -> None:
        self._run(self.store.close())
        self._run(self.inside.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def url(self, path: str, host: str = STORE) -> str:
        return f"http://{host}:{self.store.port}{path}"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(write_photo(tmp_path_factory.mktemp("photos") / "gray.png").read_bytes())
    started.start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[RunningCluster]:
    folder = tmp_path_factory.mktemp("fetch")
    write_package(folder / "model_packages", "bright")
    cluster_yaml = f"""
default_models: [bright]
preprocessor: {{workers: 1}}
fetch:
  enabled: true
  hosts: ["*:{servers.store.port}", "*:{servers.inside.port}", "{STORE}:9"]
  allow_private: ["{STORE}"]
"""
    environment = {"CREMA_CLUSTER_TOKEN": PLANTED, "HTTP_PROXY": f"http://{INSIDE}:{servers.inside.port}"}
    with running_cluster(folder, cluster_yaml=cluster_yaml, environment=environment) as started:
        yield started


def ask(cluster: RunningCluster, members: Any, path: str = "/v1/analyze") -> tuple[int, dict[str, Any], Any]:
    """POST a map as JSON (bytes: as they are). (status, body, headers)"""
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    request = urllib.request.Request(cluster.url + path, data=body)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read()), response.headers
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read()), refusal.headers


def fetcher(cluster: RunningCluster) -> dict[str, Any]:
    """What the preprocessor says of the process that fetches."""
    port = cluster.port("preprocessor", "http")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as response:
        told: dict[str, Any] = json.loads(response.read())["fetcher"] or {}
    cluster.seen.update({told["pid"]} if told else ())
    return told


@pytest.mark.parametrize("path", ["/photo.png", "/moved", "/photo.png?signature=planted-signature"])
def test_a_photo_in_a_store_is_analysed(cluster: RunningCluster, servers: Servers, path: str) -> None:
    status, body, _ = ask(cluster, {"image": {"url": servers.url(path)}})
    assert (status, body["status"]) == (200, "ok")
    assert body["results"]["bright"]["output"]["score"] == pytest.approx(0.4)
    assert body["image"] == {"format": "png", "width": 64, "height": 48, "bytes": len(servers.photo)}


def test_a_url_works_in_msgpack_and_in_a_batch(cluster: RunningCluster, servers: Servers) -> None:
    good = {"url": servers.url("/photo.png")}
    assert ask(cluster, msgpack.packb({"image": good}))[0] == 200
    sent = {"base64": base64.b64encode(servers.photo).decode()}
    images = [good, sent, {"url": servers.url("/gone.jpg")}, {"url": "file:///etc/passwd"}]
    _, body, _ = ask(cluster, {"images": images}, "/v1/analyze/batch")
    assert [item.get("code", item["status"]) for item in body["items"]] == [
        "ok",
        "ok",
        "url_fetch_failed",
        "url_fetch_failed",
    ]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/page.jpg", 415, "unsupported_media_type"),
        ("/gone.jpg", 422, "url_fetch_failed"),
        ("/gzip", 422, "url_fetch_failed"),
        ("/large", 413, "image_too_large"),
    ],
)
def test_what_is_no_photo_is_refused(
    cluster: RunningCluster, servers: Servers, path: str, status: int, code: str
) -> None:
    found, problem, _ = ask(cluster, {"image": {"url": servers.url(path)}, "deadline_ms": 20000})
    assert (found, problem["code"]) == (status, code)
    if code == "image_too_large":
        assert problem["limit"] == 20 * 1024 * 1024


def test_a_server_inside_is_not_reached_and_every_refusal_is_alike(
    cluster: RunningCluster, servers: Servers
) -> None:
    port = servers.inside.port
    hosts = (
        INSIDE,
        "0x7f.2",
        "2130706434",
        "0177.2",
        f"[::ffff:{INSIDE}]",
        f"user@{INSIDE}",
        f"a.b@{INSIDE}",
        "127.2",
    )
    asked = [f"http://{host}:{port}/secret" for host in hosts]
    asked += [servers.url("/inside"), f"http://{INSIDE}:{port}\\@{STORE}/", f"gopher://{INSIDE}:{port}/_GET"]
    asked += ["file:///etc/passwd", "data:image/gif;base64,R0lGODlh", "http://169.254.169.254/latest/"]
    asked += [f"http://{STORE}:9/nobody-listens"]
    with ThreadPoolExecutor(len(asked)) as callers:
        found = list(callers.map(lambda url: timed(cluster, url), asked))
    assert {(status, code) for status, code, _, _ in found} == {(422, "url_fetch_failed")}
    assert len({detail for _, _, detail, _ in found}) == 1
    assert min(seconds for *_, seconds in found) >= 1.0  # what an attempt to connect may take
    assert (servers.inside.connections, servers.inside.hits) == (0, [])


def timed(cluster: RunningCluster, url: str) -> tuple[int, str, str, float]:
    began = time.monotonic()
    status, problem, _ = ask(cluster, {"image": {"url": url}})
    return status, problem["code"], problem["detail"], time.monotonic() - began


def test_the_callers_own_deadline_ends_a_slow_fetch(cluster: RunningCluster, servers: Servers) -> None:
    began = time.monotonic()
    status, problem, _ = ask(cluster, {"image": {"url": servers.url("/slow")}, "deadline_ms": 400})
    assert (status, problem["code"]) == (504, "deadline_exceeded")
    assert time.monotonic() - began < 3


def test_slow_fetches_hold_no_decoder_and_have_their_own_limit(
    cluster: RunningCluster, servers: Servers
) -> None:
    slow = {"image": {"url": servers.url("/slow")}, "deadline_ms": 3000}
    with ThreadPoolExecutor(20) as callers:
        under_way = [callers.submit(ask, cluster, slow) for _ in range(20)]
        refused = next(done for done in under_way if done.result()[0] == 429).result()
        assert "Retry-After" in refused[2]
        began = time.monotonic()
        assert cluster.post(servers.photo)[0] == 200
        assert time.monotonic() - began < 2
        assert sorted(done.result()[0] for done in under_way) == [429] * 4 + [504] * 16


def test_the_process_that_fetches_knows_no_secret_and_comes_back(
    cluster: RunningCluster, servers: Servers
) -> None:
    pid = fetcher(cluster)["pid"]
    for file in ("environ", "cmdline"):
        told = Path(f"/proc/{pid}/{file}").read_bytes()
        assert PLANTED.encode() not in told and b"PROXY" not in told
    os.kill(pid, signal.SIGKILL)
    cluster.wait(lambda: fetcher(cluster).get("pid", pid) != pid, "another one")
    assert ask(cluster, {"image": {"url": servers.url("/photo.png")}})[0] == 200
    assert not is_alive(pid)


def test_logs_name_hosts_and_outcomes_and_no_urls(cluster: RunningCluster, servers: Servers) -> None:
    ask(cluster, {"image": {"url": servers.url("/photo.png?signature=planted-signature")}})
    ask(cluster, {"image": {"url": servers.url("/gone.jpg?signature=planted-signature")}})
    log = cluster.log("preprocessor-0")
    assert '"event": "url_fetch"' in log and f'"host": "{STORE}"' in log and '"reason": "status"' in log
    for name in ("preprocessor-0", "coordinator-0", "supervisor"):
        assert "planted-signature" not in cluster.log(name)
        assert "gone.jpg" not in cluster.log(name)


def test_nothing_listens_because_of_it(cluster: RunningCluster) -> None:
    """The fetching process takes no connections: it has one socket, to its preprocessor, while nothing is fetched."""
    folder = Path(f"/proc/{fetcher(cluster)['pid']}/fd")
    inodes = {str(entry.readlink()) for entry in folder.iterdir()}
    listening = {
        f"socket:[{line.split()[9]}]"
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    assert inodes & listening == set()


def test_switched_off_by_default(tmp_path: Path) -> None:
    write_package(tmp_path / "model_packages", "bright")
    with socket.socket() as store:
        store.bind((STORE, 0))
        store.listen()
        store.settimeout(0)
        with running_cluster(tmp_path, cluster_yaml="default_models: [bright]\n") as cluster:
            url = f"http://{STORE}:{store.getsockname()[1]}/a.jpg"
            status, problem, _ = ask(cluster, {"image": {"url": url}})
            assert (status, problem["code"]) == (422, "url_fetch_disabled")
            assert "--fetch" not in "".join(
                Path(f"/proc/{pid}/cmdline").read_text() for pid in cluster.pids("preprocessor")
            )
        with pytest.raises(BlockingIOError):
            store.accept()
