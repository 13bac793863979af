"""Packages to read manifests from: a good one, and what is said of one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.manifest import ManifestError, load_manifest

GOOD = """\
crema: 1
name: tags
version: "3.1"
summary: Up to 30 English tags for a photo
owner: vision-research@example.com
entrypoint: model:Tagger
python: ">=3.11,<3.13"
input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}
output: {type: tags}
params:
  max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}
weights:
  - {path: weights/tags.safetensors, sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
batching: {max_size: 8, max_wait_ms: 0, in_flight: 1}
slo: {p99_ms: 250}
resources: {device: auto, gpu_memory_mb: 3000}
examples:
  - {image: examples/beach.jpg, expect: examples/beach.json, tolerance: 0.02}
"""


def make_package(folder: Path, manifest: str = GOOD, *, name: str = "tags", version: str = "3.1") -> Path:
    package = folder / name / version
    for file in (
        "model.py",
        "weights/tags.safetensors",
        "examples/beach.jpg",
        "examples/beach.json",
        "examples/x.npy",
    ):
        path = package / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (package / "model.yaml").write_text(manifest, encoding="utf-8")
    return package


def refused(package: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(package)
    return str(caught.value)
