"""How many connections a listener takes, in all and from one address. Counts only; it opens and closes nothing.

The cap follows the descriptor limit of this process as it is at that moment, because it can be changed from outside
while the process runs.
"""

from __future__ import annotations

import resource
from ipaddress import IPv6Address
from typing import Final

SPARE_DESCRIPTORS: Final = 64
# A connection costs about 20 KB before its first byte: more than this is no load of callers.
MAX_CONNECTIONS: Final = 16_384
MAX_PER_ADDRESS: Final = 2048
# From this many connections on, those who ask nothing are not kept for long.
CROWD: Final = 512
_FEWEST: Final = 16


def max_connections() -> int:
    """Half of the descriptors this process may open, the other half being for what answers the callers."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(_FEWEST, min(soft // 2, soft - SPARE_DESCRIPTORS, MAX_CONNECTIONS))


class ConnectionLimits:
    """Counts the connections of one listener. `cap` bounds them further than the descriptor limit does."""

    def __init__(self, cap: int | None = None) -> None:
        self.count = 0
        self._cap = cap
        self._by_address: dict[str, int] = {}

    @property
    def cap(self) -> int:
        """As many connections as are taken now."""
        most = max_connections()
        return most if self._cap is None else min(self._cap, most)

    @property
    def is_crowded(self) -> bool:
        """Whether connections are so many that idle ones should make room."""
        return self.count >= min(CROWD, max(1, self.cap // 2))

    def admit(self, address: str | None) -> bool:
        """Count a connection in, or leave it out: there are too many in all, or from its address.

        One address holds half of the cap at most, 2048 in any case. An IPv6 address stands for its /64: one caller
        has as many of those as it likes.
        """
        cap = self.cap
        owner = _owner(address)
        held = self._by_address.get(owner, 0)
        if self.count >= cap or held >= min(MAX_PER_ADDRESS, max(_FEWEST, cap // 2)):
            return False
        self.count += 1
        self._by_address[owner] = held + 1
        return True

    def leave(self, address: str | None) -> None:
        """Count a connection out that was admitted."""
        self.count -= 1
        owner = _owner(address)
        held = self._by_address[owner] - 1
        if held:
            self._by_address[owner] = held
        else:
            del self._by_address[owner]


def _owner(address: str | None) -> str:
    if address is None or ":" not in address:
        return address or ""
    whole = IPv6Address(address.partition("%")[0])
    return str(whole.ipv4_mapped or int(whole) >> 64)
