"""A whole cluster around one toy that sleeps: 8 photos per batch, always as long."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.running import RunningCluster, running_cluster
from tests.cluster.toy_packages import write_package, write_photo


@contextlib.contextmanager
def sleepy_cluster(batch_s: float, cluster_yaml: str) -> Iterator[tuple[RunningCluster, bytes]]:
    """(the cluster, a photo for it). Its model is called `sleepy`."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ["XDG_RUNTIME_DIR"] = made
        package = write_package(folder / "packages", "sleepy", predict=f"time.sleep({batch_s})")
        photo = write_photo(folder / "photo.png").read_bytes()
        with running_cluster(folder / "site", [package], cluster_yaml=cluster_yaml) as cluster:
            yield cluster, photo
