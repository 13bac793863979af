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


class Gate:
    """Permits for `max_requests` calls and `max_bytes` bytes of bodies at once. Both are given back by their holder."""

    def __init__(self, max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self._mean_s = 0.1

    @property
    def is_full(self) -> bool:
        """Whether no further call would get a permit now."""
        return self.requests >= self.max_requests

    def enter(self) -> None:
        """Take a permit. Raises CremaError `overloaded` when there is none."""
        if self.requests >= self.max_requests:
            raise self.refusal(
                f"{self.requests} of {self.max_requests} calls are in flight at this coordinator"
            )
        self.requests += 1

    def leave(self, held_s: float) -> None:
        """Give a permit back after `held_s` seconds."""
        self.requests -= 1
        self._mean_s += _WEIGHT * (held_s - self._mean_s)

    def check(self, size: int) -> None:
        """Raises CremaError `overloaded` when a call with `size` bytes would find no room now; takes nothing."""
        if self.is_full:
            self.enter()
        self.hold(size)
        self.release(size)

    def hold(self, size: int) -> None:
        """Account for `size` bytes of a body. Raises CremaError `overloaded` when they do not fit."""
        if self.bytes + size > self.max_bytes:
            raise self.refusal(
                f"this coordinator holds {self.bytes} bytes of photos and takes {self.max_bytes}"
            )
        self.bytes += size

    def release(self, size: int) -> None:
        """Give `size` bytes back."""
        self.bytes -= size

    def refusal(self, what: str) -> CremaError:
        """The refusal, saying when half of what is in flight should be answered."""
        after_ms = min(_MAX_RETRY_AFTER_MS, max(_MIN_RETRY_AFTER_MS, self._mean_s * 500))
        return CremaError("overloaded", f"{what}; come back in {after_ms:.0f} ms", retry_after_ms=after_ms)
