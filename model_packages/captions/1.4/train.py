"""Trains the captioner: `python model_packages/captions/1.4/train.py --data DIR --encoder TAGS_WEIGHTS --out DIR`.

DIR is what `python -m model_packages.scenes.dataset` wrote; the encoder starts from the tagger's (tags 3.1,
`weights/tags.safetensors`), which already knows what there is to see. Writes `captions.safetensors`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from model import START, STOP, Captioner, to_input
from safetensors.torch import load_file, save_file
from torch.nn import functional

KEPT_BACK = 600


def words_of(sentence: str) -> list[str]:
    """Words; a comma is one."""
    return sentence.replace(",", " ,").split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(14)
    torch.set_num_threads(options.threads)
    shuffler = np.random.default_rng(14)
    images = np.load(options.data / "images.npy", mmap_mode="r")
    sentences = [
        words_of(truth["caption"]) for truth in json.loads((options.data / "truth.json").read_text())
    ]
    words = ["<start>", "<stop>", *sorted({word for sentence in sentences for word in sentence})]
    number = {word: k for k, word in enumerate(words)}
    length = max(map(len, sentences)) + 1
    targets = np.full((len(sentences), length), -1, np.int64)  # -1: after the end, not asked for
    for row, sentence in enumerate(sentences):
        targets[row, : len(sentence) + 1] = [*(number[word] for word in sentence), STOP]
    count = len(sentences) - KEPT_BACK
    net = Captioner(len(words)).to(memory_format=torch.channels_last)
    known = {k: v for k, v in load_file(options.encoder).items() if k.startswith("backbone.")}
    missing = net.load_state_dict(known, strict=False).missing_keys
    assert not [key for key in missing if key.startswith("backbone.")], "the encoder's weights do not fit"
    learners = [
        {"params": list(net.backbone.parameters()), "peak": 8e-4},
        {"params": [p for k, p in net.named_parameters() if not k.startswith("backbone.")], "peak": 4e-3},
    ]
    optimiser = torch.optim.AdamW(learners, weight_decay=0.02)
    steps, done, started = options.epochs * (count // options.batch), 0, time.monotonic()
    for epoch in range(options.epochs):
        net.train()
        order, losses = shuffler.permutation(count), []
        for first in range(0, count - options.batch + 1, options.batch):
            chosen = np.sort(order[first : first + options.batch])
            x = to_input(torch.from_numpy(images[chosen])).contiguous(memory_format=torch.channels_last)
            if shuffler.random() < 0.5:
                x = x.flip(3)
            for group in optimiser.param_groups:
                group["lr"] = (
                    group["peak"] * min(1.0, (done + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done / steps))
                )
            wanted = torch.from_numpy(targets[chosen])
            with torch.autocast("cpu", torch.bfloat16):
                seen, state = net.look(x)
            seen, state = seen.float(), state.float()
            word, said = torch.full((len(chosen),), START), []
            for place in range(length):
                logits, state = net.say(seen, state, word)
                said.append(logits)
                word = wanted[:, place].clamp(min=0)
            loss = functional.cross_entropy(
                torch.stack(said, 1).flatten(0, 1), wanted.flatten(), ignore_index=-1
            )
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
            done += 1
            if done % 50 == 0:
                print(
                    f"step {done}/{steps} loss {np.mean(losses[-50:]):.4f} {time.monotonic() - started:.0f}s",
                    flush=True,
                )
        net.eval()
        right = 0
        with torch.inference_mode():
            for a in range(count, len(sentences), 50):
                seen, state = net.look(to_input(torch.from_numpy(images[a : a + 50])))
                word = torch.full((len(seen),), START)
                same = torch.ones(len(seen), dtype=torch.bool)
                for place in range(length):
                    logits, state = net.say(seen, state, word)
                    word, asked = logits.argmax(1), torch.from_numpy(targets[a : a + 50, place])
                    same &= (word == asked) | (asked < 0)
                right += int(same.sum())
        print(
            f"epoch {epoch + 1} whole sentences equal {right / KEPT_BACK:.3f}, {len(words)} words", flush=True
        )
        options.out.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: v.contiguous().half() if v.is_floating_point() else v for k, v in net.state_dict().items()},
            options.out / "captions.safetensors",
            metadata={"words": json.dumps(words)},
        )


if __name__ == "__main__":
    main()
