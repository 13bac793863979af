"""Image models for cluster tests: packages without weights, on numpy alone, written where a test wants them."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

CARD = """\
crema: 1
name: {name}
version: "{version}"
summary: {summary}
entrypoint: model:Toy
python: ">=3.11"
input: {{kind: image, size: [{size}, {size}]}}
output: {{type: score}}
batching: {{max_size: 8}}
slo: {{p99_ms: 5000}}
resources: {{device: cpu}}
examples:
  - {{image: examples/gray.png, expect: examples/gray.json}}
"""

# How bright the photo is, from 0 to 1.
BRIGHTNESS = """
import time
class Toy:
    def load(self, ctx):
        {load}
    def predict(self, batch, params):
        {predict}
        return [{{"score": float(item.mean() / 255)}} for item in batch]
"""


def write_package(
    packages: Path,
    name: str,
    version: str = "1.0",
    *,
    size: int = 16,
    load: str = "pass",
    predict: str = "pass",
    summary: str = "How bright a photo is",
) -> Path:
    """Writes `packages/name/version`; `load` and `predict` are statements that run before the model's own."""
    package = packages / name / version
    examples = package / "examples"
    examples.mkdir(parents=True)
    (package / "model.yaml").write_text(CARD.format(name=name, version=version, size=size, summary=summary))
    (package / "model.py").write_text(BRIGHTNESS.format(load=load, predict=predict))
    (package / "CHANGES.md").write_text(f"# {version}\n\nFirst.\n")
    (package / "requirements.in").write_text("")
    Image.new("RGB", (32, 32), (51, 51, 51)).save(examples / "gray.png")
    (examples / "gray.json").write_text(json.dumps({"score": 0.2}))
    return package


def write_photo(
    path: Path, colour: tuple[int, int, int] = (102, 102, 102), size: tuple[int, int] = (64, 48)
) -> Path:
    """A photo of one colour; its brightness is the mean of the three over 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path
