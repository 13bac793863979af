"""What a decode process says of an image, checked: it has read strangers' bytes, so its words are treated like theirs."""

from __future__ import annotations

from typing import Any, Final, NotRequired, TypedDict

import msgspec


class Image(TypedDict):
    """Dimensions after orientation, and the size of the file."""

    format: str
    width: int
    height: int
    bytes: int


class Timing(TypedDict):
    """Milliseconds."""

    decode_ms: float
    resize_ms: float


class Answer(TypedDict):
    """`status` 200 with `image` and `timing`, or another one with `error`."""

    status: int
    image: NotRequired[Image]
    timing: NotRequired[Timing]
    error: NotRequired[dict[str, Any]]


_decode: Final = msgspec.msgpack.Decoder(list[Answer]).decode


def read_answers(message: bytes, count: int) -> list[Answer] | None:
    """None for what is no answer to `count` images."""
    try:
        answers = _decode(message)
    except (msgspec.DecodeError, ValueError):
        return None
    if len(answers) != count:
        return None
    for answer in answers:
        wanted = ("image", "timing") if answer["status"] == 200 else ("error",)
        if not all(name in answer for name in wanted):
            return None
    return answers
