"""W3C trace context, as far as a relay needs it: check what came, pass it on with a parent id of our own."""

from __future__ import annotations

import random
import re
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z", re.ASCII
)


def trace_of(header: str) -> tuple[str, str] | None:
    """(trace id, traceparent to pass on) of a valid `traceparent` header, else None: an invalid one is ignored.

    The trace id and the flags stay; the parent is this hop, with a fresh id.
    """
    match = _TRACEPARENT.match(header.strip())
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or not trace_id.strip("0") or not parent_id.strip("0") or (version == "00" and more):
        return None
    return trace_id, f"00-{trace_id}-{random.getrandbits(64) or 1:016x}-{flags}"
