"""Captions for a photo: an encoder looks, a decoder writes one word after the other until it says it is done.

A plain class: it needs numpy, torch and safetensors, and nothing of the server it runs in.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

START, STOP = 0, 1  # the first two entries of the word list
LONGEST = 24  # words; sentences end by themselves well before
HIDDEN, EMBEDDED = 128, 64
# Words that promise another one: a shortened sentence does not end with them.
DANGLING = frozenset(
    (
        "a",
        "an",
        "in",
        "on",
        "at",
        "by",
        "off",
        "the",
        "of",
        "over",
        "under",
        "above",
        "beside",
        "near",
        "among",
        "with",
        "through",
        "hot",
        "air",
        "green",
        "sandy",
        "city",
        "sunny",
        "cloudy",
        ",",
    )
)

WIDTHS = (32, 64, 96, 160)


class Step(nn.Module):
    """Convolution and batch norm; `fold` makes them one convolution for inference."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(
            inputs, outputs, kernel, stride, (kernel - 1) // 2 if kernel % 2 else 2, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def fold(self) -> None:
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()


class Stage(nn.Module):
    """Halve the picture, then refine it once with a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = Step(inputs, outputs, 3, 2)
        self.first = Step(outputs, outputs, 3, 1)
        self.second = Step(outputs, outputs, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.down(x))
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class Backbone(nn.Module):
    """float [n, 3, 224, 224] in -1..1 → features of 14 x 14 ([n, 96, ...]) and of 7 x 7 ([n, 160, ...])."""

    def __init__(self) -> None:
        super().__init__()
        stem, low, middle, high = WIDTHS
        self.stem = Step(3, stem, 8, 4)
        self.low, self.middle, self.high = Stage(stem, low), Stage(low, middle), Stage(middle, high)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.middle(self.low(functional.relu(self.stem(x))))
        return middle, self.high(middle)


class Captioner(nn.Module):
    """Encoder-decoder: a recurrent cell that looks at the 7 x 7 feature map again before every word."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.begin = nn.Linear(2 * (WIDTHS[2] + WIDTHS[3]), HIDDEN)
        self.where = nn.Linear(HIDDEN, WIDTHS[3])
        self.embed = nn.Embedding(words, EMBEDDED)
        self.cell = nn.GRUCell(EMBEDDED + WIDTHS[3], HIDDEN)
        self.speak = nn.Linear(HIDDEN, words)

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """float [n, 3, 224, 224] → what was seen ([n, 49, 160]) and the decoder's first state ([n, 128])."""
        maps = self.backbone(x)
        pooled = [value for m in maps for value in (m.mean((2, 3)), m.amax((2, 3)))]
        return maps[1].flatten(2).transpose(1, 2), torch.tanh(self.begin(torch.cat(pooled, 1)))

    def say(self, seen: Tensor, state: Tensor, word: Tensor) -> tuple[Tensor, Tensor]:
        """One step: the last word ([n]) and the state → logits of the next word ([n, words]) and the new state."""
        focus = torch.softmax((seen @ self.where(state).unsqueeze(2)).squeeze(2) / math.sqrt(WIDTHS[3]), 1)
        glimpse = (focus.unsqueeze(1) @ seen).squeeze(1)
        state = self.cell(torch.cat([self.embed(word), glimpse], 1), state)
        return self.speak(state), state


def to_input(pixels: Tensor) -> Tensor:
    """uint8 [n, h, w, 3] → float [n, 3, h, w] in -1..1, on the device the pixels are on."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


class Narrator:
    """The entry point."""

    def load(self, ctx: Any) -> None:
        """Read the weights (half precision on disk, single in use) and the word list stored beside them."""
        self.device = torch.device(ctx.device)
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # a replica on a CPU is one core; more replicas use more
        with safe_open(str(ctx.path("weights/captions.safetensors")), framework="pt") as file:
            self.words: list[str] = json.loads(file.metadata()["words"])
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        net = Captioner(len(self.words))
        net.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
        )
        net.eval()
        for part in net.modules():
            if isinstance(part, Step):
                part.fold()
        self.net = net.to(self.device, memory_format=torch.channels_last)

    def predict(self, batch: np.ndarray, params: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """uint8 [n, 224, 224, 3] and n parameter sets → n times {"caption": {"text", "confidence"}}."""
        sentences, chances = self._write(batch)
        return [
            self._answer(words, chance, wanted)
            for words, chance, wanted in zip(sentences, chances, params, strict=True)
        ]

    def _write(self, batch: np.ndarray) -> tuple[list[list[int]], list[list[float]]]:
        """Greedy decoding of the whole batch; per sentence its words (with STOP, if it came) and their probabilities."""
        with torch.inference_mode():
            pixels = torch.from_numpy(batch if batch.flags.writeable else batch.copy()).to(self.device)
            seen, state = self.net.look(to_input(pixels))
            word = torch.full((len(batch),), START, dtype=torch.long, device=self.device)
            over = torch.zeros(len(batch), dtype=torch.bool, device=self.device)
            said, sure = [], []
            for _ in range(LONGEST):
                logits, state = self.net.say(seen, state, word)
                chance, word = torch.softmax(logits, 1).max(1)
                said.append(word)
                sure.append(chance)
                over |= word == STOP
                if bool(over.all()):
                    break
            table, chances = torch.stack(said, 1).cpu().tolist(), torch.stack(sure, 1).cpu().tolist()
        lengths = [row.index(STOP) + 1 if STOP in row else len(row) for row in table]
        return (
            [row[:k] for row, k in zip(table, lengths, strict=True)],
            [row[:k] for row, k in zip(chances, lengths, strict=True)],
        )

    def _answer(self, numbers: list[int], chances: list[float], wanted: dict[str, Any]) -> dict[str, Any]:
        words = [self.words[n] for n in numbers if n != STOP]
        limit, count, kept = int(wanted.get("max_words", 20)), 0, 0
        for kept, word in enumerate(words):  # noqa: B007 - kept is used below
            count += word != ","
            if count > limit:
                break
        else:
            kept = len(words)
        short = words[:kept]
        while kept < len(words) and len(short) > 1 and short[-1] in DANGLING:
            short.pop()
        used = chances if len(short) == len(words) else chances[: len(short)]
        mean = math.exp(sum(math.log(max(c, 1e-9)) for c in used) / max(1, len(used)))
        return {"caption": {"text": " ".join(short).replace(" ,", ","), "confidence": min(1.0, mean)}}
