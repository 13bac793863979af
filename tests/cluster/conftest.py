"""Fixtures of the cluster tests. Every test here starts real processes, so every one is marked `cluster`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.running import RunningCluster, end, start_cluster
from tests.cluster.toy_packages import write_photo

Start = Callable[..., RunningCluster]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, so that nobody forgets to."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(autouse=True)
def _private_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters of tests are found by their own files only."""
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts clusters and leaves nothing of them: `start(packages, cluster_yaml=…, …)`, not waited for."""
    started: list[RunningCluster] = []

    def make(packages: Any = (), *, folder: Path | None = None, **options: Any) -> RunningCluster:
        cluster = start_cluster(folder or tmp_path / "site", packages, **options)
        started.append(cluster)
        return cluster

    yield make
    for cluster in started:
        end(cluster)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo whose brightness is 0.4."""
    return write_photo(tmp_path / "photos" / "gray.png")
