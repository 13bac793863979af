"""MemoryLimit: from which size on a worker is relieved by a fresh one.

Pure but for `own_bytes`, which asks the kernel. It replaces nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MB: Final = 1024 * 1024
# A worker may grow to this multiple of its size after the warm-up, and this much more.
GROWTH: Final = 1.5
ROOM_BYTES: Final = 512 * _MB
# A declared limit below this multiple of that size would relieve for ever, and is not kept.
_LEAST_GROWTH: Final = 1.1


class MemoryLimit:
    """`memory_mb` is the manifest's; without it 1.5 × the size after the warm-up + 512 MiB."""

    def __init__(self, memory_mb: int | None = None) -> None:
        self._declared = None if memory_mb is None else memory_mb * _MB
        self.bytes: float = float("inf")
        """The limit; infinite until a worker was measured."""

    def warmed_up(self, resident: int) -> bool:
        """A worker has this size after its warm-up. False when the declared limit leaves it no room and is not kept."""
        fits = self._declared is None or self._declared >= _LEAST_GROWTH * resident
        self.bytes = self._declared if self._declared is not None and fits else GROWTH * resident + ROOM_BYTES
        return fits

    def is_over(self, resident: int) -> bool:
        """Whether the worker should be relieved."""
        return resident > self.bytes


def own_bytes(pid: int) -> int:
    """Resident memory of a process without what it shares with others by descriptor, such as a minion's arena, which grows
    with the load and not with the model; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    resident, shared = (int(kilobytes.get(name, ["0"])[0]) for name in ("VmRSS", "RssShmem"))
    return (resident - shared) * 1024
