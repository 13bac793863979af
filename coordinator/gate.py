"""The coordinator's own gate: bounded by requests in flight and by bytes of bodies held. It never looks at a clock.

What the minions can take is theirs to say; this gate only keeps the coordinator's memory and loop from being flooded.
"""

from __future__ import annotations

from typing import Final

from crema.errors import CremaError

MAX_REQUESTS: Final = 512
MAX_BYTES: Final = 512 * 1024 * 1024
# How much one answer moves the mean time that Retry-After is computed from.
_WEIGHT: Final = 0.05
_MIN_RETRY_AFTER_MS: Final = 100.0
_MAX_RETRY_AFTER_MS: Final = 10_000.0


class Holding:
    """What the keys of one name hold at the gate."""

    __slots__ = ("bytes", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0


class Gate:
    """Permits for `max_requests` calls and `max_bytes` bytes of bodies at once. Both are given back by their holder.

    Where callers have a `Holding`, a full gate still lets in who holds less than an equal part of it, so that nobody can
    keep the others out, up to twice the limits.
    """

    def __init__(self, max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self._mean_s = 0.1
        self._holders: set[Holding] = set()

    def is_full(self, holding: Holding | None = None) -> bool:
        """Whether no further call (of that holder) would get a permit now."""
        return self.requests >= self.max_requests and (
            holding is None
            or self.requests >= 2 * self.max_requests
            or holding.requests >= self.max_requests // self._parts(holding)
        )

    def refuse_if_full(self, holding: Holding | None = None) -> None:
        """Raises CremaError `overloaded` when no further call (of that holder) would get a permit now; takes none."""
        if self.requests >= self.max_requests and self.is_full(holding):
            raise self.refusal(
                f"{self.requests} of {self.max_requests} calls are in flight at this coordinator"
            )

    def enter(self, holding: Holding | None = None) -> None:
        """Take a permit. Raises CremaError `overloaded` when there is none."""
        if self.requests >= self.max_requests:
            self.refuse_if_full(holding)
        self.requests += 1
        if holding is not None:
            holding.requests += 1
            self._holders.add(holding)

    def leave(self, held_s: float, holding: Holding | None = None) -> None:
        """Give a permit back after `held_s` seconds."""
        self.requests -= 1
        self._mean_s += _WEIGHT * (held_s - self._mean_s)
        if holding is not None:
            holding.requests -= 1
            self._forget(holding)

    def check(self, size: int, holding: Holding | None = None) -> None:
        """Raises CremaError `overloaded` when a call with `size` bytes would find no room now; takes nothing."""
        self.refuse_if_full(holding)
        self.hold(size, holding)
        self.release(size, holding)

    def hold(self, size: int, holding: Holding | None = None) -> None:
        """Account for `size` bytes of a body. Raises CremaError `overloaded` when they do not fit."""
        if self.bytes + size > self.max_bytes and (
            holding is None
            or self.bytes + size > 2 * self.max_bytes
            or holding.bytes + size > self.max_bytes // self._parts(holding)
        ):
            raise self.refusal(
                f"this coordinator holds {self.bytes} bytes of photos and takes {self.max_bytes}"
            )
        self.bytes += size
        if holding is not None:
            holding.bytes += size
            self._holders.add(holding)

    def release(self, size: int, holding: Holding | None = None) -> None:
        """Give `size` bytes back."""
        self.bytes -= size
        if holding is not None:
            holding.bytes -= size
            self._forget(holding)

    def _parts(self, holding: Holding) -> int:
        """Into how many equal parts the gate is divided: the holders, and the one that asks."""
        return len(self._holders) + (holding not in self._holders)

    def _forget(self, holding: Holding) -> None:
        if not holding.requests and not holding.bytes:
            self._holders.discard(holding)

    def refusal(self, what: str) -> CremaError:
        """The refusal, saying when half of what is in flight should be answered."""
        after_ms = min(_MAX_RETRY_AFTER_MS, max(_MIN_RETRY_AFTER_MS, self._mean_s * 500))
        return CremaError("overloaded", f"{what}; come back in {after_ms:.0f} ms", retry_after_ms=after_ms)
