"""Preprocessing through the public API: formats that are switched on, gray models, and the whole tier down."""

from __future__ import annotations

import io
import os
import signal
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package

AT_ONCE_S = 0.1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """A model that takes colour and one that takes gray; TIFF is switched on."""
    folder = tmp_path_factory.mktemp("preprocessing")
    write_package(folder / "model_packages", "bright", predict="assert batch.shape[1:] == (16, 16, 3)")
    gray = write_package(folder / "model_packages", "luma", predict="assert batch.shape[1:] == (16, 16, 1)")
    manifest = gray / "model.yaml"
    manifest.write_text(manifest.read_text().replace("size: [16, 16]}", "size: [16, 16], colour: gray}"))
    cluster_yaml = "preprocessor: {workers: 1, formats: [tiff]}\n"
    with running_cluster(folder, cluster_yaml=cluster_yaml) as cluster:
        yield cluster


def saved(kind: str) -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (64, 48), (255, 0, 0)).save(kept, kind)
    return kept.getvalue()


def test_a_gray_model_gets_one_channel_beside_one_that_gets_three(cluster: RunningCluster) -> None:
    status, body = cluster.post(saved("PNG"), models="bright,luma")
    assert status == 200 and body["status"] == "ok", body
    scores = {name: part["output"]["score"] for name, part in body["results"].items()}
    # of pure red: a third of the light, and 0.299 of the luma
    assert scores["bright"] == pytest.approx(1 / 3, abs=0.01) and scores["luma"] == pytest.approx(
        0.299, abs=0.01
    )


def test_a_format_that_is_switched_on_is_taken_and_another_is_not(cluster: RunningCluster) -> None:
    status, body = cluster.post(saved("TIFF"), models="bright")
    assert (status, body["image"]["format"]) == (200, "tiff")
    status, body = cluster.post(saved("BMP"), models="bright")
    assert (status, body["code"]) == (415, "unsupported_media_type")
    assert "formats: [bmp]" in body["detail"] and "TIFF" in body["detail"]


def test_the_whole_tier_down_is_503_at_once_with_a_time_to_come_back(cluster: RunningCluster) -> None:
    photo = saved("JPEG")
    assert cluster.post(photo, models="bright")[0] == 200
    url = f"{cluster.url}/v1/analyze?models=bright"
    [victim] = cluster.pids("preprocessor")
    os.kill(victim, signal.SIGKILL)
    refused: list[float] = []
    for _ in range(10):
        began = time.monotonic()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=photo), timeout=10):
                break  # it is back already
        except urllib.error.HTTPError as error:
            refused.append(time.monotonic() - began)
            assert error.code == 503 and int(error.headers["Retry-After"]) >= 1
    assert len(refused) >= 3, "the tier came back before it was looked at"
    assert statistics.median(refused) < AT_ONCE_S
    cluster.wait(lambda: cluster.post(photo, models="bright")[0] == 200, "the tier to be back", 15)
