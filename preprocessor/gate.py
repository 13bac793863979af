"""Bounded admission in front of the decode pool: a permit, or `overloaded` with the time to come back.

Pure: it counts, it knows no clock and no loop. Bounded by places and by the bytes of the images that wait, both known
from a frame's header, so that a refused image is never kept.
"""

from __future__ import annotations

from typing import Final

from crema.errors import CremaError

# Images that wait are held in memory; this many bytes of them at most.
MAX_PENDING_BYTES: Final = 512 * 1024 * 1024
# A caller that is told to come back sooner than this only adds to the load.
LEAST_RETRY_AFTER_MS: Final = 50.0


class Permit:
    """One place, until `leave` is called. Leaving twice is leaving once."""

    __slots__ = ("_gate", "nbytes")

    def __init__(self, gate: Gate, nbytes: int) -> None:
        self._gate: Gate | None = gate
        self.nbytes = nbytes

    def leave(self) -> None:
        """Give the place back."""
        if self._gate is not None:
            self._gate.give_back(self)
            self._gate = None


class Gate:
    """`places` images may be pending (waiting or being decoded) at once."""

    def __init__(self, places: int, max_bytes: int = MAX_PENDING_BYTES) -> None:
        self.places = places
        self.pending = 0
        self.pending_bytes = 0
        self._max_bytes = max_bytes

    def enter(self, nbytes: int, expected_wait_ms: float) -> Permit:
        """A permit for an image of `nbytes`. The caller owes it a `leave`.

        Raises CremaError `overloaded` with `retry_after_ms`: `expected_wait_ms` is when what is pending will be done.
        An idle gate never refuses.
        """
        if self.pending >= self.places:
            message = f"{self.pending} of {self.places} places taken in the preprocessor; come back after `retry_after_ms`"
            raise CremaError(
                "overloaded", message, retry_after_ms=max(LEAST_RETRY_AFTER_MS, expected_wait_ms)
            )
        if self.pending and self.pending_bytes + nbytes > self._max_bytes:
            message = f"the images that wait in the preprocessor fill its {self._max_bytes} bytes; come back after `retry_after_ms`"
            raise CremaError(
                "overloaded", message, retry_after_ms=max(LEAST_RETRY_AFTER_MS, expected_wait_ms)
            )
        self.pending += 1
        self.pending_bytes += nbytes
        return Permit(self, nbytes)

    def give_back(self, permit: Permit) -> None:
        """A permit is over; called by the permit itself."""
        self.pending -= 1
        self.pending_bytes -= permit.nbytes
