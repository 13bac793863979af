"""P3: a 150 KB tensor costs no tier more than three minor page faults (an exact count, not a time)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import minor_faults
from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package

MOST_FAULTS = 3.0
WARM_UP = 150
REQUESTS = 200


def photo_150_kb() -> bytes:
    """A noisy JPEG of 640x480: about 150 KB of body, and 150 KB of pixels at 224x224."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    kept = io.BytesIO()
    Image.fromarray(noise).save(kept, "JPEG", quality=60)
    return kept.getvalue()


def faults(cluster: RunningCluster) -> dict[str, int]:
    """Minor faults so far, by process."""
    pids = {
        "coordinator": cluster.pids("coordinator"),
        "preprocessor": cluster.pids("preprocessor"),
        "decoder": cluster.pids("preprocessor", "decoder"),
        "host": cluster.pids("minion"),
        "worker": cluster.pids("minion", "worker"),
    }
    return {name: sum(map(minor_faults, of)) for name, of in pids.items()}


def test_no_tier_faults_more_than_three_times_per_request(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    write_package(folder / "model_packages", "bright", size=224)
    with running_cluster(folder, cluster_yaml="preprocessor: {workers: 1}\n") as cluster:
        photo = photo_150_kb()
        for _ in range(WARM_UP):
            assert cluster.post(photo, models="bright")[0] == 200
        before = faults(cluster)
        for _ in range(REQUESTS):
            assert cluster.post(photo, models="bright")[0] == 200
        after = faults(cluster)
    per_request = {name: (after[name] - before[name]) / REQUESTS for name in after}
    print(per_request)
    assert max(per_request.values()) <= MOST_FAULTS, f"faults per request: {per_request}"
