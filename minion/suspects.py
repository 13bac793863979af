"""Suspects: what was in flight when a worker died or a batch raised, by content, for ten minutes.

A suspect that comes again runs alone, so that it harms no mates and nobody is punished for a neighbour; what was in
flight in two deaths, here or at another replica that its coordinator tells of, is quarantined. Pure: `now` is an argument. It hashes only what it is asked about.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import msgpack

KEPT_S: Final = 600.0
DEATHS: Final = 2
# The oldest go first: a flood of deaths takes no memory.
MOST: Final = 4096


def fingerprint(pixels: bytes | memoryview, params: dict[str, Any] | None) -> bytes:
    """16 bytes that stand for an item's content: its pixels and what its caller asked for."""
    digest = blake2b(pixels, digest_size=16)
    if params:
        digest.update(msgpack.packb(sorted(params.items())))
    return digest.digest()


class _Record:
    __slots__ = ("deaths", "elsewhere", "until")

    def __init__(self) -> None:
        self.deaths = 0
        self.elsewhere = 0
        self.until = 0.0


class Suspects:
    """The list. While there are no `records`, arrivals need not be hashed."""

    def __init__(self) -> None:
        self.records: OrderedDict[bytes, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self.records)

    def died(self, prints: Sequence[bytes], now: float) -> None:
        """A worker died while these were in flight. The same content twice in one batch counts once."""
        for each in set(prints):
            self._touch(each, now).deaths += 1

    def accused(self, prints: Sequence[bytes], deaths: int, now: float) -> None:
        """These were in flight when so many workers of other replicas died. Told twice of the same content it is one tale:
        the same death is told of for each of its callers."""
        for each in set(prints):
            record = self._touch(each, now)
            record.elsewhere = max(record.elsewhere, deaths)

    def raised(self, print_: bytes, now: float) -> None:
        """An item made its batch raise: a suspect, though it killed nobody."""
        self._touch(print_, now)

    def passed(self, print_: bytes) -> None:
        """A suspect ran alone and was answered: it is innocent."""
        self.records.pop(print_, None)

    def is_suspect(self, print_: bytes, now: float) -> bool:
        """Whether it must run alone."""
        self.expire(now)
        return print_ in self.records

    def is_quarantined(self, print_: bytes, now: float) -> bool:
        """Whether it must not run at all."""
        self.expire(now)
        record = self.records.get(print_)
        return record is not None and record.deaths + record.elsewhere >= DEATHS

    def expire(self, now: float) -> None:
        """Forget what is older than ten minutes."""
        while self.records and next(iter(self.records.values())).until <= now:
            self.records.popitem(last=False)

    def _touch(self, print_: bytes, now: float) -> _Record:
        record = self.records.pop(print_, None) or _Record()
        record.until = now + KEPT_S
        self.records[print_] = record  # at the end: the list stays in the order of its times
        if len(self.records) > MOST:
            self.records.popitem(last=False)
        return record
