"""Canary: which callers of an unpinned selector get a new version. Pure; the same key always gets the same answer.

The key is hashed with the model's name alone: while a share grows, those who had the new version keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

NOBODY: Final = -1


def point_of(model: str, key: str) -> float:
    """Where a key lies for a model, from 0 to 100: equal in every coordinator and after every restart."""
    digest = blake2b(
        key.encode("utf-8", "surrogateescape"),
        digest_size=8,
        person=blake2b(model.encode(), digest_size=16).digest(),
    ).digest()
    return int.from_bytes(digest) / 2**64 * 100


def pick(percents: Sequence[float], point: float) -> int:
    """Which of several shares a point falls into, or `NOBODY`: then the promoted version serves."""
    upper = 0.0
    for index, percent in enumerate(percents):
        upper += percent
        if point < upper:
            return index
    return NOBODY
