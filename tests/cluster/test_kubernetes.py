"""The rendered manifests for real: images built with buildah, started by `podman kube play`, called from outside."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crema.host.key_file import KeyFile, now_utc
from tests.cluster.podman import (
    PREFIX,
    ROOT,
    Podman,
    as_user,
    containers,
    crema,
    lock_of,
    playable,
    require_tools,
)
from tests.cluster.steady_load import SteadyLoad
from tests.cluster.toy_packages import write_package
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PHOTO = ROOT / "samples" / "coffee.jpg"
CLUSTER = """\
default_models: [bright]
preprocessor: {replicas: 1, workers: 1}
models:
  bright:
    versions:
      "1.0": {replicas: {min: 2, max: 4}}
"""
REPLICAS = ("bright-1-0-pod-0", "bright-1-0-b-pod-0")


@dataclass
class Site:
    """The cluster in its containers."""

    podman: Podman
    folder: Path
    url: str
    operations_url: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}

    def manifest(self, name: str) -> Path:
        return self.folder / "played" / f"{name}.yaml"

    def get(self, url: str) -> tuple[int, Any]:
        return call(urllib.request.Request(url, headers=self.headers))

    def are_all_ready(self) -> bool:
        """Whether both minions have loaded and are connected. (Podman's resolver also knows those that still load.)"""
        for pod in REPLICAS:
            if self.get(f"http://{self.podman.address(pod)}:7001/readyz")[0] != 200:
                return False
        _, body = self.get(f"{self.url}/v1/models/bright")
        return bool(body["versions"][0]["ready"] == len(REPLICAS))

    def wait_all_ready(self) -> None:
        wait_until(self.are_all_ready, "both replicas to be ready", 40.0, self.podman.story)


def call(request: urllib.request.Request) -> tuple[int, Any]:
    """(status, JSON body)."""
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read())


def losses(load: SteadyLoad) -> list[str]:
    """The calls that were not answered, each with when it began, how long it took and what it was told."""
    began = min(each.began for each in load.ended)
    return [
        f"{each.began - began:.2f} s, {each.seconds:.2f} s: {each.status} {each.error or each.body}"
        for each in sorted(load.ended, key=lambda each: each.began)
        if each.status != 200
    ]


def write_version(packages: Path, version: str, **options: str) -> None:
    package = write_package(packages, "bright", version, predict="time.sleep(0.02)", **options)
    (package / "requirements.pypi.lock").write_text(lock_of(("msgpack", "numpy")))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_tools()
    folder = tmp_path_factory.mktemp("kubernetes")
    write_version(folder / "model_packages", "1.0")
    (folder / "cluster.yaml").write_text(CLUSTER)
    keys = folder / "keys"
    _, key = KeyFile(keys / "keys.json").new("app", ["infer"], now_utc())
    as_user(keys / "keys.json", 0o600)
    as_user(keys, 0o700)
    (folder / "played").mkdir()
    with containers(folder / "podman") as podman:
        podman.build(folder / "cluster.yaml")
        manifests = folder / "manifests"
        crema(
            "render",
            "kubernetes",
            "-f",
            str(folder / "cluster.yaml"),
            "-o",
            str(manifests),
            "--image-prefix",
            PREFIX,
        )
        podman.secret("crema-cluster-token", "token", base64.b64encode(b"a token of this test").decode())
        for name, suffix in (("preprocessor", ""), ("bright-1-0", ""), ("bright-1-0", "-b")):
            played = playable(
                manifests / f"{name}.yaml", folder / "played" / f"{name}{suffix}.yaml", suffix=suffix
            )
            podman.play(played, alias=name)
        coordinator = playable(
            manifests / "coordinator.yaml",
            folder / "played" / "coordinator.yaml",
            folders={"crema-api-keys": keys},
        )
        podman.play(coordinator, alias="coordinator", config=manifests / "configuration.yaml")
        address = podman.address("coordinator-pod-0")
        found = Site(podman, folder, f"http://{address}:8000", f"http://{address}:8001", key)
        wait_until(
            lambda: found.get(f"{found.operations_url}/servez")[0] == 200,
            "the coordinator to serve",
            40.0,
            podman.story,
        )
        found.wait_all_ready()
        yield found


def test_the_main_call_is_answered(site: Site) -> None:
    request = urllib.request.Request(
        f"{site.url}/v1/analyze",
        data=PHOTO.read_bytes(),
        headers={**site.headers, "Content-Type": "image/jpeg"},
    )
    status, body = call(request)
    assert (status, body.get("status")) == (200, "ok"), body
    assert body["image"] == {"format": "jpeg", "width": 600, "height": 400, "bytes": 79975}
    assert body["results"]["bright"]["version"] == "1.0"
    assert 0.1 < body["results"]["bright"]["output"]["score"] < 0.9


def test_who_has_no_key_is_refused(site: Site) -> None:
    request = urllib.request.Request(f"{site.url}/v1/analyze", data=PHOTO.read_bytes())
    assert call(request)[0] == 401


def test_a_minion_runs_as_nobody_and_can_write_nothing(site: Site) -> None:
    look = (
        "import json, os, pathlib\n"
        "def writes(path):\n"
        "    try:\n"
        "        pathlib.Path(path, 'x').write_text('x')\n"
        "        return True\n"
        "    except OSError:\n"
        "        return False\n"
        "status = pathlib.Path('/proc/1/status').read_text()\n"
        "caps = [line.split()[1] for line in status.splitlines() if line.startswith('CapEff')]\n"
        "folders = ['/', '/opt/crema/packages/bright/1.0', '/opt/crema/source', '/opt/crema/environment']\n"
        "workers = [p for p in pathlib.Path('/proc').glob('[0-9]*') if b'crema.worker' in (p / 'cmdline').read_bytes()]\n"
        "environment = workers[0].joinpath('environ').read_bytes()\n"
        "print(json.dumps({'uid': os.getuid(), 'caps': int(caps[0], 16), 'writes': [f for f in folders if writes(f)],\n"
        "    'tmp': writes('/tmp'), 'worker knows the token': b'a token of this test' in environment}))\n"
    )
    answer = site.podman("exec", f"{REPLICAS[0]}-minion", "/opt/crema/venv/bin/python", "-c", look)
    assert json.loads(answer) == {
        "uid": 10001, "caps": 0, "writes": [], "tmp": True, "worker knows the token": False,
    }  # fmt: skip


def test_killing_a_minions_container_under_load_loses_nothing(site: Site) -> None:
    site.wait_all_ready()
    with SteadyLoad(site.url, PHOTO.read_bytes(), per_s=25, headers=site.headers) as load:
        time.sleep(1.5)
        os.kill(site.podman.init_pid(f"{REPLICAS[0]}-minion"), signal.SIGKILL)
        time.sleep(2.5)
    assert len(load.ended) > 80
    assert losses(load) == [], site.podman.story()
    # and the container is started again
    site.wait_all_ready()


def test_ending_a_minion_gently_under_load_loses_nothing(site: Site) -> None:
    site.wait_all_ready()
    second = site.manifest("bright-1-0-b")
    with SteadyLoad(site.url, PHOTO.read_bytes(), per_s=25, headers=site.headers) as load:
        time.sleep(0.5)
        site.podman.stop(second, f"{REPLICAS[1]}-minion")
        time.sleep(0.5)
        site.podman.play(second, alias="bright-1-0")
        site.wait_all_ready()
    assert losses(load) == [], site.podman.story()


def test_a_new_minor_version_has_every_layer_already_but_its_own(site: Site) -> None:
    folder = site.folder / "next"
    shutil.copytree(site.folder / "model_packages", folder / "model_packages")
    write_version(folder / "model_packages", "1.1", summary="How bright a photo is, said anew")
    (folder / "cluster.yaml").write_text('models: {bright: {versions: {"1.0": {}, "1.1": {}}}}\n')
    site.podman.build(folder / "cluster.yaml", only="minion-bright:1.1")
    old, new = sorted(image for image in site.podman.images if "minion-bright" in image)
    before, after = site.podman.layers(old), site.podman.layers(new)
    assert len(before) == len(after)
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]
