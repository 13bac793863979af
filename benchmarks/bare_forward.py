"""A model's forward pass with nothing around it, in the package's own virtualenv: what `efficiency.py` divides by.

Run by the virtualenv's Python, so it imports nothing of crema:  PYTHON bare_forward.py PACKAGE ENTRYPOINT BATCH ROUNDS
Prints CPU seconds per image.
"""

import importlib
import json
import logging
import sys
import time
from pathlib import Path

import numpy as np


class Context:
    """The few things that `load` is given."""

    device = "cpu"
    log = logging.getLogger("bare")

    def __init__(self, package):
        self._package = package

    def path(self, relative):
        return str(self._package / relative)


def main(package, entrypoint, params, batch_size, rounds):
    sys.path.insert(0, str(package))
    module, _, name = entrypoint.partition(":")
    model = getattr(importlib.import_module(module), name)()
    model.load(Context(package))
    batch = np.random.default_rng(0).integers(0, 256, (batch_size, 224, 224, 3), np.uint8)
    all_params = [dict(params) for _ in range(batch_size)]
    for _ in range(3):
        model.predict(batch, all_params)
    start = time.process_time()
    for _ in range(rounds):
        model.predict(batch, all_params)
    print((time.process_time() - start) / (rounds * batch_size))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
