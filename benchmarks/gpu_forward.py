"""A network on its own, with no server around it: what `gpu.py` divides by. Run by the Python of a virtualenv with torch.

    PYTHON gpu_forward.py PACKAGE DEVICE BATCH SECONDS

Prints JSON: images a second of `forward` (the batch lies on the device already, and nobody fetches the answers) and of
`predict` (as the package has it: copied there from ordinary memory, answers fetched), and the device's name.
"""

import json
import logging
import sys
import time
import types
from pathlib import Path

import numpy as np


def images_per_second(run, settle, n, seconds):
    """Of batches of n, one after the other."""
    for _ in range(3):
        run()
    settle()
    began, batches = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        run()
        batches += 1
        if batches % 8 == 0:
            settle()  # so that not minutes of work are queued
    settle()
    return n * batches / (time.monotonic() - began)


def main(package, device, n, seconds):
    sys.path.insert(0, str(package))
    import model as package_model
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        return {"cuda": False}
    served = package_model.Net()
    served.load(types.SimpleNamespace(device=device, log=logging.getLogger(), path=package.joinpath))
    batch = np.random.default_rng(0).integers(0, 256, (n, 224, 224, 3), np.uint8)
    on_device = torch.from_numpy(batch).to(device)
    settle = torch.cuda.synchronize if device != "cpu" else lambda: None
    torch_model = served.model

    def forward():
        with torch.inference_mode(), torch.autocast(torch_model.device.type, torch.bfloat16):
            torch_model.net(torch_model.normalise(on_device))

    return {
        "cuda": True,
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "forward": images_per_second(forward, settle, n, seconds),
        "predict": images_per_second(lambda: served.predict(batch, [{}] * n), settle, n, seconds),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
