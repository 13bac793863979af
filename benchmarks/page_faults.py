"""P3: a 150 KB tensor costs no tier more than three minor page faults.

.venv/bin/python -m benchmarks.page_faults
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import machine, minor_faults, verdict
from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package

WARM_UP = 150
REQUESTS = 200
MOST_FAULTS = 3.0


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
        "host": cluster.pids("minion", "host"),
        "worker": cluster.pids("minion", "worker"),
    }
    return {name: sum(map(minor_faults, of)) for name, of in pids.items()}


def faults_per_request(folder: Path) -> dict[str, float]:
    """Of a real cluster in `folder` with one model of 224x224, after a warm-up."""
    write_package(folder / "model_packages", "bright", size=224)
    with running_cluster(folder, cluster_yaml="preprocessor: {workers: 1}\n") as cluster:
        photo = photo_150_kb()

        def send(times: int) -> None:
            for _ in range(times):
                status, body = cluster.post(photo, models="bright")
                if status != 200:
                    raise AssertionError(f"{status}: {body}")

        send(WARM_UP)
        before = faults(cluster)
        send(REQUESTS)
        after = faults(cluster)
    return {name: (after[name] - before[name]) / REQUESTS for name in after}


def main() -> bool:
    """Print goal, figure, verdict for each process."""
    with tempfile.TemporaryDirectory() as folder:
        figures = faults_per_request(Path(folder) / "site")
    print(f"P3 minor page faults per 150 KB request; {machine()}")
    verdicts = [verdict(f"P3 {name}", MOST_FAULTS, figure) for name, figure in figures.items()]
    return all(verdicts)


if __name__ == "__main__":
    raise SystemExit(not main())
