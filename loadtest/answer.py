"""Answer: of what the public API sends back, only what a load run counts. Everything else is passed over unread."""

from __future__ import annotations

from typing import Final

import msgspec

from loadtest.figures import Kind

NOT_OURS: Final = "not_an_answer"


class Timing(msgspec.Struct):
    """Of one model's part."""

    queue_ms: float = 0.0
    inference_ms: float = 0.0
    total_ms: float = 0.0
    batch_size: int = 0


class PartError(msgspec.Struct):
    """Why a model said nothing."""

    code: str = ""


class Part(msgspec.Struct):
    """What one model said."""

    status: str = ""
    model: str = ""
    version: str = ""
    timing: Timing | None = None
    error: PartError | None = None


class Body(msgspec.Struct):
    """An answer (`status` is a text) or a problem (it is a number)."""

    status: str | int = ""
    code: str = ""
    results: dict[str, Part] = {}


_decode = msgspec.json.Decoder(Body).decode
_NOTHING: Final = Body()


def read_answer(status: int, raw: bytes) -> tuple[Kind, str, dict[str, Part]]:
    """(how the call ended, its error code if it has one, the models' parts)."""
    try:
        body = _decode(raw)
    except msgspec.MsgspecError:
        body = _NOTHING
    if status == 200:
        if body.status == "ok":
            return "ok", "", body.results
        if body.status == "partial":
            return "partial", "", body.results
        return "failed", NOT_OURS, {}
    code = body.code or f"http_{status}"
    return ("refused" if status == 429 else "failed"), code, body.results
