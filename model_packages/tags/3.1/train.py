"""Trains the tagger: `python model_packages/tags/3.1/train.py --data DIR --out DIR`.

DIR is what `python -m model_packages.scenes.dataset` wrote. Writes `tags.safetensors`; MODEL_CARD.md says how long it took.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from model import TagNet, to_input
from safetensors.torch import save_file
from torch.nn import functional

KEPT_BACK = 600  # the last scenes of the set only watch the training; the figures come from other seeds


def average_precision(wanted: np.ndarray, scores: np.ndarray) -> float:
    """Mean of the precision at every hit, best score first."""
    hits = wanted[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / max(1, hits.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(31)
    torch.set_num_threads(options.threads)
    shuffler = np.random.default_rng(31)
    images = np.load(options.data / "images.npy", mmap_mode="r")
    truths = json.loads((options.data / "truth.json").read_text())
    names = sorted({tag for truth in truths for tag in truth["tags"]})
    labels = np.zeros((len(truths), len(names)), np.float32)
    for row, truth in enumerate(truths):
        labels[row, [names.index(tag) for tag in truth["tags"]]] = 1.0
    count = len(truths) - KEPT_BACK
    net = TagNet(len(names)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    steps, step, started = options.epochs * (count // options.batch), 0, time.monotonic()
    for epoch in range(options.epochs):
        net.train()
        order, losses = shuffler.permutation(count), []
        for first in range(0, count - options.batch + 1, options.batch):
            chosen = np.sort(order[first : first + options.batch])
            x = to_input(torch.from_numpy(images[chosen])).contiguous(memory_format=torch.channels_last)
            if shuffler.random() < 0.5:
                x = x.flip(3)
            warm = min(1.0, (step + 1) / 200)
            rate = 3e-3 * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in optimiser.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(x)
            loss = functional.binary_cross_entropy_with_logits(
                logits.float(), torch.from_numpy(labels[chosen])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            step += 1
            if step % 50 == 0:
                print(
                    f"step {step}/{steps} loss {np.mean(losses[-50:]):.4f} {time.monotonic() - started:.0f}s",
                    flush=True,
                )
        net.eval()
        with torch.inference_mode():
            scores = np.concatenate(
                [
                    net(to_input(torch.from_numpy(images[a : a + 50]))).numpy()
                    for a in range(count, len(truths), 50)
                ]
            )
        each = [average_precision(labels[count:, k], scores[:, k]) for k in range(len(names))]
        worst = sorted(zip(each, names, strict=True))[:6]
        print(f"epoch {epoch + 1} mAP {np.mean(each):.4f} worst {worst}", flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: v.contiguous() for k, v in net.state_dict().items()},
            options.out / "tags.safetensors",
            metadata={"tags": json.dumps(names)},
        )


if __name__ == "__main__":
    main()
