"""Runs a package's model on stored pixels, in the Python of the package's own environment; stdlib and numpy only.

`PYTHON run_package.py PACKAGE PIXELS.npy ANSWERS.json [PARAMS as JSON]` loads the class as a notebook would, answers in
batches of 16 and once more one by one for the first 8, and prints the versions of the libraries it ran with.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.dont_write_bytecode = True  # a package's folder stays as it was shipped


def entrypoint(package: Path) -> Any:
    """An instance of the class that the manifest names."""
    found = re.search(r"^entrypoint:\s*([\w.]+):(\w+)", (package / "model.yaml").read_text(), re.MULTILINE)
    assert found is not None, f"{package / 'model.yaml'} has no entrypoint"
    sys.path.insert(0, str(package))
    return getattr(importlib.import_module(found[1]), found[2])()


def main(package: Path, pixels: Path, answers: Path, params: dict[str, Any]) -> None:
    images = np.load(pixels)
    model = entrypoint(package)
    started = time.perf_counter()
    model.load(
        SimpleNamespace(path=lambda name: package / name, device="cpu", log=logging.getLogger("package"))
    )
    loaded = time.perf_counter()
    batched = [
        answer
        for a in range(0, len(images), 16)
        for answer in model.predict(images[a : a + 16], [dict(params) for _ in images[a : a + 16]])
    ]
    predicted = time.perf_counter()
    alone = [model.predict(images[k : k + 1], [dict(params)])[0] for k in range(min(8, len(images)))]
    versions = {
        name: str(getattr(module, "__version__", ""))
        for name, module in list(sys.modules.items())
        if name in ("numpy", "torch", "onnxruntime", "safetensors")
    }
    answers.write_text(
        json.dumps(
            {
                "answers": batched,
                "alone": alone,
                "versions": versions,
                "load_s": loaded - started,
                "ms_per_image": 1000 * (predicted - loaded) / len(images),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), json.loads((sys.argv[4:] or ["{}"])[0]))
