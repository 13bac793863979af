"""Gpus: which GPUs this machine has, and which one a minion gets. Without `nvidia-smi` there are none.

`place` is pure bookkeeping; a GPU that another program fills meanwhile is that minion's own failure to load.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

_QUERY: Final = (
    "nvidia-smi",
    "--query-gpu=index,uuid,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)
_QUERY_TIMEOUT_S: Final = 20.0


@dataclass(slots=True)
class Gpu:
    """One GPU: `uuid` as CUDA_VISIBLE_DEVICES takes it, memory in MB. `minions` and `promised_mb` are ours."""

    uuid: str
    total_mb: int
    free_mb: int
    minions: int = 0
    promised_mb: int = 0

    @property
    def left_mb(self) -> int:
        """What is neither used by others nor promised to minions of ours."""
        return self.free_mb - self.promised_mb


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a minion runs: `visible` is the CUDA_VISIBLE_DEVICES of its process, empty for the CPU."""

    device: Literal["cpu", "cuda:0"]
    visible: str = ""


class DoesNotFit(Exception):
    """A package needs a GPU and none is there for it; the text says why."""


class Gpus:
    """The GPUs of this machine and what was promised of them."""

    def __init__(self, gpus: Iterable[Gpu] = ()) -> None:
        self.gpus = list(gpus)

    def place(self, device: str, memory_mb: int | None) -> Placement:
        """A place for one minion with `resources.device` (auto, gpu, cpu) and `gpu_memory_mb`.

        Takes the least loaded GPU on which the memory fits. Raises DoesNotFit when it must be a GPU and cannot.
        """
        if device == "cpu":
            return Placement("cpu")
        needed = memory_mb or 0
        fitting = [gpu for gpu in self.gpus if gpu.left_mb >= needed and gpu.left_mb > 0]
        if fitting:
            gpu = min(fitting, key=lambda gpu: (gpu.minions, -gpu.left_mb))
            gpu.minions += 1
            gpu.promised_mb += needed
            return Placement("cuda:0", gpu.uuid)
        if device == "auto":
            return Placement("cpu")
        if not self.gpus:
            raise DoesNotFit(
                "it needs a GPU and this machine shows none (nvidia-smi); set resources.device: auto to allow the CPU"
            )
        most = max(gpu.left_mb for gpu in self.gpus)
        raise DoesNotFit(
            f"it needs {needed} MB on one GPU and the most that is left is {most} MB; stop another version or lower resources.gpu_memory_mb"
        )

    def give_back(self, placement: Placement, memory_mb: int | None) -> None:
        """A minion that was placed has ended for good."""
        for gpu in self.gpus:
            if placement.device != "cpu" and gpu.uuid == placement.visible:
                gpu.minions -= 1
                gpu.promised_mb -= memory_mb or 0


def find_gpus() -> Gpus:
    """Asks nvidia-smi. Where CUDA_VISIBLE_DEVICES is set, only the GPUs it names are ours to give."""
    try:
        answer = subprocess.run(
            _QUERY, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return Gpus()
    return Gpus(parse_gpus(answer, os.environ.get("CUDA_VISIBLE_DEVICES")))


def parse_gpus(answer: str, visible: str | None) -> list[Gpu]:
    """nvidia-smi's lines (index, uuid, total, free) that `visible`, a CUDA_VISIBLE_DEVICES, leaves to us."""
    found = []
    allowed = None if visible is None else [name.strip() for name in visible.split(",") if name.strip()]
    for line in answer.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 4 or not fields[2].isdigit() or not fields[3].isdigit():
            continue
        index, uuid = fields[0], fields[1]
        if (
            allowed is None
            or index in allowed
            or any(uuid.startswith(name) for name in allowed if name.startswith("GPU-"))
        ):
            found.append(Gpu(uuid, int(fields[2]), int(fields[3])))
    return found
