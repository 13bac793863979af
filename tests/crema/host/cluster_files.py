"""Cluster files beside a folder of packages: a good one, and what is said of one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.config import ConfigError, ResolvedCluster, load_cluster, resolve_cluster

GOOD = """\
coordinator: {listen: "127.0.0.1:8000", operations: "127.0.0.1:8001", processes: 1}
preprocessor: {replicas: 1, workers: auto}
packages: models
default_models: [tags, captions]
models:
  tags:
    default: "3.1"
    labels: {candidate: "3.2"}
    versions:
      "3.1": {replicas: {min: 1, max: 4}}
      "3.2": {replicas: 1, canary: 5%}
"""

MANIFEST = """\
crema: 1
name: NAME
version: "VERSION"
entrypoint: model:Model
python: ">=3.11"
input: {kind: image, size: [8, 8]}
output: {type: score}
examples: [{image: one.png, expect: one.json}]
"""


def put_package(root: Path, name: str, version: str, manifest: str = MANIFEST) -> None:
    package = root / name / version
    package.mkdir(parents=True)
    for file in ("model.py", "one.png", "one.json"):
        (package / file).touch()
    (package / "model.yaml").write_text(manifest.replace("NAME", name).replace("VERSION", version))


def put_packages(folder: Path) -> None:
    """What `GOOD` serves, beside it."""
    for name, version in (("tags", "3.1"), ("tags", "3.2"), ("captions", "1.9"), ("captions", "1.10")):
        put_package(folder / "models", name, version)


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_cluster(written(folder, text))
    return str(caught.value)


def resolved(folder: Path, text: str) -> ResolvedCluster:
    return resolve_cluster(load_cluster(written(folder, text)))
