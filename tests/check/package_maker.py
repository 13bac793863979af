"""Packages for the checklist's tests: a small sound one on numpy alone, and changes to it, one defect each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from envs.lock_file import inputs_digest

MANIFEST = """\
crema: 1
name: {name}
version: "{version}"
summary: How bright the first half of a tensor is
entrypoint: model:Model
python: ">=3.11"
input: {{kind: tensor, shape: [64], dtype: uint8}}
output: {{type: score}}
params:
  gain: {{type: number, default: 1.0, minimum: 0.0, maximum: 2.0}}
batching: {{max_size: 5}}
slo: {{p99_ms: 5000}}
watchdog_s: 3
load_s: 20
resources: {{device: cpu}}
examples:
  - {{tensor: examples/ramp.npy, expect: examples/ramp.json, tolerance: 0.001}}
"""

MODEL = """
import numpy as np


class Model:
    def load(self, ctx):
        self.scale = 1 / 510

    def predict(self, batch, params):
        values = batch[:, :32].mean(axis=1) * self.scale
        return [{"score": float(min(1.0, value * one["gain"]))} for value, one in zip(values, params)]
"""

RAMP = np.arange(64, dtype=np.uint8) * 4


def lock_text(package: Path, requirements: Mapping[str, str] | None = None) -> str:
    """A lock whose header is fresh; its hashes are those of nothing."""
    pinned = {"msgpack": "1.1.0", "numpy": "2.2.0"} if requirements is None else requirements
    digest = hashlib.sha256(b"").hexdigest()
    body = "".join(f"{name}=={version} \\\n    --hash=sha256:{digest}\n" for name, version in pinned.items())
    inputs = inputs_digest(package, ">=3.11")
    return f"# profile: pypi\n# python: >=3.11\n# inputs: sha256:{inputs}\n{body}"


def write_package(
    packages: Path,
    *,
    name: str = "bright",
    version: str = "1.0",
    model: str = MODEL,
    manifest: str = MANIFEST,
    score: float | None = None,
) -> Path:
    """Writes a package that passes; with other code or another manifest, one that perhaps does not."""
    package = packages / name / version
    (package / "examples").mkdir(parents=True)
    (package / "model.yaml").write_text(manifest.format(name=name, version=version))
    (package / "model.py").write_text(model)
    (package / "CHANGES.md").write_text(f"# Changes\n\n## {version}\n\nThe first version.\n")
    (package / "requirements.in").write_text("")
    (package / "requirements.pypi.lock").write_text(lock_text(package))
    np.save(package / "examples" / "ramp.npy", RAMP)
    answer = float(RAMP[:32].mean() / 510) if score is None else score
    (package / "examples" / "ramp.json").write_text(json.dumps({"score": answer}))
    return package
