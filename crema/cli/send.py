"""Sending one photo until it is answered: waits as long as the cluster asks, a bounded number of times."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from crema.cli.api import Api, Reply, Unreachable

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
JITTER: Final = 0.25
NO_ANSWER: Final = "No answer"
UNREADABLE: Final = "The file cannot be read"

# "healthy but full" and "cannot serve this now": the same photo may be answered later
_RETRIED: Final = frozenset({429, 503})


def send(
    api: Api,
    photo: Path,
    *,
    tries: int,
    wait: Callable[[float], object] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Reply:
    """The last of at most `tries` replies. A file that cannot be read and a server that does not answer are replies
    with the code 0 and a `detail`. `wait(seconds)` may return True to say that there is no more time to try;
    `chance()` (0 to 1) is given for tests."""
    try:
        body = photo.read_bytes()
    except OSError as error:
        return Reply(0, {"title": UNREADABLE, "detail": error.strerror or str(error)})
    for attempt in range(1, max(1, tries) + 1):
        try:
            reply = api.analyze(body)
        except Unreachable as error:
            reply = Reply(0, {"title": NO_ANSWER, "detail": str(error)})
        if attempt >= tries or not may_help(reply):
            return reply
        if wait(wait_s(reply, attempt, chance())) is True:
            return reply
    raise AssertionError("there is at least one try")


def may_help(reply: Reply) -> bool:
    """Whether the same photo can fare better soon: nothing answered, all of it was refused, or a part of it by a model
    that is healthy but full. A part that a model cannot serve now is no reason to ask all models again."""
    if reply.status == "partial":
        return any(
            isinstance(result, dict) and (result.get("error") or {}).get("code") == "overloaded"
            for result in (reply.body.get("results") or {}).values()
        )
    return reply.code in _RETRIED or reply.code == 0


def wait_s(reply: Reply, attempt: int, chance: float) -> float:
    """How long to wait after try number `attempt` (from 1): what the cluster asks for, growing where it asks too little,
    with jitter so that those refused together do not come back together."""
    asked = reply.retry_after_s or 0.0
    return min(LONGEST_WAIT_S, max(asked, FIRST_WAIT_S * 2.0 ** (attempt - 1))) * (1.0 + JITTER * chance)
