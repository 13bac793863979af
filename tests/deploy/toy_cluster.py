"""A cluster file and packages for tests that start no real tier: tensor models, whose examples need no decoding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from crema.host.config import ResolvedCluster, load_cluster, resolve_cluster

CARD = """\
crema: 1
name: {name}
version: "{version}"
entrypoint: model:Toy
python: ">=3.11"
input: {{kind: tensor, shape: [4], dtype: float32}}
output: {{type: score}}
resources: {resources}
examples:
  - {{tensor: one.npy, expect: one.json}}
"""


def write_package(folder: Path, name: str, version: str = "1.0", resources: str = "{device: cpu}") -> None:
    """A package that is never run."""
    package = folder / "model_packages" / name / version
    package.mkdir(parents=True)
    (package / "model.yaml").write_text(CARD.format(name=name, version=version, resources=resources))
    (package / "model.py").write_text("class Toy: pass\n")
    np.save(package / "one.npy", np.arange(4, dtype=np.float32))
    (package / "one.json").write_text(json.dumps({"score": 0.5}))


def resolved(folder: Path, more: str = "") -> ResolvedCluster:
    """The cluster of the packages in `folder`, on free ports; `more` is added to the file."""
    listeners = 'coordinator: {listen: "127.0.0.1:0", operations: "127.0.0.1:0"}\n'
    (folder / "model_packages").mkdir(exist_ok=True)
    path = folder / "cluster.yaml"
    path.write_text(("" if "coordinator:" in more else listeners) + more)
    return resolve_cluster(load_cluster(path))
