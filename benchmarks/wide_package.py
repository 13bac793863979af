"""A model package whose items are 150 KB tensors and whose answer costs nothing: what is measured with it is the way in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SHAPE = [224, 224, 3]
ITEM_BYTES = 224 * 224 * 3

_MODEL = '''
class Wide:
    """The first byte of each item."""

    def load(self, ctx):
        pass

    def predict(self, batch, params):
        return batch[:, 0, 0, 0].tolist()
'''

_MANIFEST = """\
crema: 1
name: wide
version: "1.0"
entrypoint: model:Wide
python: ">=3.11"
input: {kind: tensor, shape: [224, 224, 3], dtype: uint8}
output: {type: json, schema: {type: integer}}
batching: {max_size: 32}
slo: {p99_ms: 5000}
examples: [{tensor: examples/one.npy, expect: examples/one.json}]
"""


def write_wide_package(folder: Path) -> Path:
    """Writes `folder/wide/1.0` and returns that path."""
    package = folder / "wide" / "1.0"
    (package / "examples").mkdir(parents=True)
    (package / "model.py").write_text(_MODEL)
    (package / "model.yaml").write_text(_MANIFEST)
    np.save(package / "examples" / "one.npy", np.zeros(SHAPE, np.uint8))
    (package / "examples" / "one.json").write_text("0")
    return package
