"""GpuMemory: what a worker says of the memory of its GPU. It is a figure for operators; no policy follows from it."""

from __future__ import annotations

from typing import Any, NamedTuple


class GpuMemory(NamedTuple):
    """Bytes: what torch reserved for workers of ours (its highest), what all processes use, what there is."""

    reserved: int
    used: int
    total: int


def read_gpu_memory(said: Any) -> GpuMemory | None:
    """What an answer of a worker brought as `gpu_memory`; None for anything else: a model may have broken its worker."""
    if type(said) is not dict:
        return None
    memory = GpuMemory(*(said.get(name, -1) for name in GpuMemory._fields))
    return memory if all(type(amount) is int and amount >= 0 for amount in memory) else None
