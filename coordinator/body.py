"""Reading a request's body: whole, bounded, in time, or refused with the reason, as early as it can be known.

What the bytes mean is decided in `media` and `call`; here only the first of them count, because the limit depends on
the way in.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

import msgspec

from coordinator.media import HEAD_BYTES, Way, may_become_json, too_large, way_in
from coordinator.violations import invalid
from crema.errors import CremaError
from crema.host.http_body import BrokenBody
from crema.host.http_request import Request
from crema.host.image_limits import MAX_IMAGE_BYTES

BODY_TIMEOUT_S: Final = 30.0
MIN_BYTES_PER_S: Final = 1024
# The rate is judged from here on: a first pause is no slow upload.
RATE_GRACE_S: Final = 5.0
# However much came before: what a stalled upload has sent is held against everybody's share of memory.
STALL_S: Final = 10.0
# A timer is moved when it would fire so much too soon (or too late), and not for every piece of a body.
SOONER: Final = 1.01
# A body too large by its own Content-Length is refused after its first bytes, which say what is too large; if they do
# not come at once the refusal goes out without them.
FIRST_BYTES_WAIT_S: Final = 0.05
# White space may stand before a JSON body, but not without end.
MAX_SPACE_BYTES: Final = 64 * 1024
MAX_ENVELOPE_BYTES: Final = -(-MAX_IMAGE_BYTES * 4 // 3) + 64 * 1024
MAX_BATCH_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a body may be: a bare image, and everything else."""

    image_bytes: int
    envelope_bytes: int


ONE_IMAGE: Final = Limits(MAX_IMAGE_BYTES, MAX_ENVELOPE_BYTES)
BATCH: Final = Limits(MAX_BATCH_BYTES, MAX_BATCH_BYTES)


class Watch(msgspec.Struct):
    """What a call says to its body: `hold(n)` for every n bytes that came, `check(n)` before a caller who waits to be
    told so sends the n bytes it declared. Both may raise to stop. `deadline`, where it is known before the body is
    read, is a time of `monotonic`.
    """

    hold: Callable[[int], None]
    check: Callable[[int], None]
    deadline: float | None = None


Body = bytes | tuple[bytes, ...]
"""A whole body; of a bare image the pieces that it came in, because joining them would be a copy that nobody needs."""


async def read_body(request: Request, limits: Limits, watch: Watch) -> tuple[Way, Body]:
    """The way in and the whole body.

    Raises CremaError: `unsupported_media_type` for a Content-Encoding or for first bytes that are no way in,
    `image_too_large`, `body_too_large`, `upload_too_slow`, `deadline_exceeded`, `invalid_request` for an empty or broken
    body.
    """
    coming = request.body
    headers = request.headers
    if "Content-Encoding" in headers and any(
        each.strip().lower() not in ("", "identity") for each in headers.getall("Content-Encoding")
    ):
        raise CremaError(
            "unsupported_media_type",
            "Content-Encoding is not taken; send the body as it is, images are compressed already",
        )
    try:
        if coming.is_whole:
            # the usual case for small bodies: everything came with the headers
            body = coming.take()
            watch.hold(len(body))
            return _way_in(body), body
        return await _Upload(request, limits, watch).read()
    except BrokenBody:
        raise invalid(
            (), "the body's transfer encoding is broken, or it ended before its Content-Length"
        ) from None


def _way_in(body: bytes) -> Way:
    head = body[:HEAD_BYTES]
    return way_in(body[:MAX_SPACE_BYTES] if may_become_json(head) else head)


class _Upload:
    """A body that is still arriving."""

    def __init__(self, request: Request, limits: Limits, watch: Watch) -> None:
        self._request = request
        self._coming = request.body
        self._limits = limits
        self._watch = watch
        self._way: Way | None = None
        self._limit = limits.envelope_bytes
        self._chunks: list[bytes] = []
        self._received = 0

    async def read(self) -> tuple[Way, Body]:
        """As `read_body`."""
        request = self._request
        declared = request.content_length
        is_held_back = request.is_held_back
        if declared is not None and declared > max(self._limits.image_bytes, self._limits.envelope_bytes):
            if not is_held_back:
                await self._first_bytes()
            raise self._refusal()
        if is_held_back:
            self._watch.check(declared or 0)
            request.ask_for_body()
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = self._watch.deadline
        most_s = math.inf if deadline is None else max(0.0, deadline - monotonic())
        allowed_s = armed_s = RATE_GRACE_S
        try:
            async with asyncio.timeout(min(allowed_s, most_s)) as timer:
                while chunk := await self._coming.next():
                    self._take(chunk, declared)
                    # when the next bytes must be here, lest the average falls below the rate or the upload stands still
                    allowed_s = min(
                        BODY_TIMEOUT_S,
                        max(RATE_GRACE_S, self._received / MIN_BYTES_PER_S),
                        loop.time() - began + STALL_S,
                    )
                    if not armed_s <= allowed_s <= SOONER * armed_s:
                        armed_s = allowed_s
                        timer.reschedule(began + min(allowed_s, most_s))
        except TimeoutError:
            if most_s <= allowed_s:
                raise CremaError(
                    "deadline_exceeded",
                    f"the deadline passed while the body was read, {self._received} bytes had come; "
                    "allow more with deadline_ms or send a smaller image",
                ) from None
            raise CremaError(
                "upload_too_slow",
                f"{self._received} bytes of the body came in {allowed_s:.0f} s; a body has {BODY_TIMEOUT_S:g} s in all and "
                f"must come at {MIN_BYTES_PER_S} bytes a second or more, never pausing for {STALL_S:g} s: "
                "send a smaller image or try a better connection",
            ) from None
        if self._way == "image":
            return self._way, self._chunks[0] if len(self._chunks) == 1 else tuple(self._chunks)
        body = b"".join(self._chunks)
        return _way_in(body) if self._way is None else self._way, body

    def _take(self, chunk: bytes, declared: int | None) -> None:
        """Keep the next bytes. Raises CremaError when they are too many or no way in."""
        self._chunks.append(chunk)
        self._received += len(chunk)
        if self._way is None and (way := self._tell()) is not None:
            self._way = way
            self._limit = self._limits.image_bytes if way == "image" else self._limits.envelope_bytes
            if declared is not None and declared > self._limit:
                raise self._refusal()
        if self._received > self._limit:
            raise self._refusal()
        self._watch.hold(len(chunk))

    async def _first_bytes(self) -> None:
        try:
            async with asyncio.timeout(FIRST_BYTES_WAIT_S):
                chunk = await self._coming.next()
        except TimeoutError:
            return
        self._chunks.append(chunk)
        self._received += len(chunk)

    def _tell(self) -> Way | None:
        """The way in, once enough bytes came to tell."""
        if self._received < HEAD_BYTES and not self._coming.is_whole:
            return None
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        head = self._chunks[0]
        if (
            may_become_json(head[:MAX_SPACE_BYTES])
            and len(head) < MAX_SPACE_BYTES
            and not self._coming.is_whole
        ):
            return None
        return _way_in(head)

    def _refusal(self) -> CremaError:
        """The 413 of a body over its limit: the image's if the image is what is large, else the envelope's."""
        seen = b"".join(self._chunks)
        declared = self._request.content_length
        if self._limits is ONE_IMAGE and seen:
            way = _way_in(seen)
            if way == "image":
                return too_large(declared)
            if _ends_in_large_image(seen, way, declared or len(seen)):
                return too_large(None)
        limit = self._limits.envelope_bytes
        return CremaError(
            "body_too_large",
            f"the body may have {limit} bytes{'' if declared is None else f' (this one has {declared})'}; "
            f"one image may have {MAX_IMAGE_BYTES}: send fewer or smaller images",
            limit=limit,
        )


def _ends_in_large_image(seen: bytes, way: Way, body_bytes: int) -> bool:
    """Whether what was seen of an envelope ends inside an image that, filling the rest, is over its limit."""
    if way == "json":
        mark = seen.rfind(b'"base64"')
        start = seen.find(b'"', mark + 8) + 1 if mark >= 0 else 0
        return start > 0 and seen.find(b'"', start) < 0 and (body_bytes - start) * 3 // 4 > MAX_IMAGE_BYTES
    if way == "form":
        mark = seen.rfind(b'name="image"')
        start = seen.find(b"\r\n\r\n", mark) + 4 if mark >= 0 else 3
        boundary = seen.partition(b"\r\n")[0]
        return start > 3 and seen.find(b"\r\n" + boundary, start) < 0 and body_bytes - start > MAX_IMAGE_BYTES
    # the member `bytes`, then the byte of a bin with a length of four bytes
    mark = seen.rfind(b"\xa5bytes\xc6")
    return mark >= 0 and int.from_bytes(seen[mark + 7 : mark + 11], "big") > MAX_IMAGE_BYTES
