"""Reading a request body within its limits: size from the header first, then counted; and never slower than allowed."""

from __future__ import annotations

import asyncio
from typing import Final

from crema.errors import CremaError
from crema.host.http_body import BrokenBody
from crema.host.http_request import Request

BODY_TIMEOUT_S: Final = 30.0


async def read_body(http: Request, max_bytes: int) -> bytes:
    """The whole body, at most `max_bytes`.

    Raises CremaError `body_too_large`, `upload_too_slow`, for a compressed body `unsupported_media_type`, for one that
    ends early `invalid_request`.
    """
    if "Content-Encoding" in http.headers:
        raise CremaError("unsupported_media_type", "compressed bodies are not taken; send the body as it is")
    too_large = CremaError(
        "body_too_large",
        f"the body is over the limit of {max_bytes} bytes; send fewer items",
        limit=max_bytes,
    )
    if http.content_length is not None and http.content_length > max_bytes:
        raise too_large
    if http.is_held_back:
        http.ask_for_body()
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while chunk := await http.body.next():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                chunks.append(chunk)
    except BrokenBody:
        raise CremaError(
            "invalid_request", "the body's transfer encoding is broken, or it ended before its Content-Length"
        ) from None
    except TimeoutError:
        raise CremaError(
            "upload_too_slow", f"the body did not arrive within {BODY_TIMEOUT_S:g} s; send fewer items"
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
