"""Scale: how long and how often. One knob: the window before and after each fault; with 60 s everything has the fault
table's size, with less all of it shrinks alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WHOLE_S: Final = 60.0
WHOLE_KILLS: Final = 20
WHOLE_REQUESTS: Final = 100_000
WHOLE_CYCLES: Final = 100


@dataclass(frozen=True, slots=True)
class Scale:
    """`window_s` is the steady load before and after a fault."""

    window_s: float

    @property
    def share(self) -> float:
        """Of the fault table's sizes, 1 at most."""
        return min(1.0, self.window_s / WHOLE_S)

    @property
    def kills(self) -> int:
        """In a row; never fewer than one of each kind."""
        return max(5, round(WHOLE_KILLS * self.share))

    @property
    def requests(self) -> int:
        """For growth of memory and descriptors."""
        return max(1000, round(WHOLE_REQUESTS * self.share))

    @property
    def cycles(self) -> int:
        """Of broken connections; never fewer than one of each mode."""
        return max(10, round(WHOLE_CYCLES * self.share))

    @property
    def pause_s(self) -> float:
        """Between two kills, once all is well again."""
        return max(0.5, 3.0 * self.share)

    def lasting(self, whole_s: float, least_s: float = 3.0) -> float:
        """Of a fault that lasts `whole_s` in the table."""
        return max(least_s, whole_s * self.share)
