"""Waiting for what other processes do, never longer than a bound."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

EVERY_S = 0.1


def wait_until(
    condition: Callable[[], bool], what: str, patience_s: float, story: Callable[[], str] = str
) -> None:
    """Until the condition holds; `story` is told where it does not in time. One that cannot be asked yet (OSError) does not."""
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s for {what}\n{story()}"
        time.sleep(EVERY_S)
