"""Request: one HTTP request, with what this shell and its tier come to know of it on its way."""

from __future__ import annotations

import random
import re
from typing import Any, Final

from aiohttp import web

_VALID_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}\Z")


class Request(web.BaseRequest):
    """aiohttp's, with attributes in place of its map: a look into that costs an exception when nothing is there."""

    known_id: str | None = None
    """What `request_id_of` has said."""
    segment = ""
    """The last segment of a path that matched a route ending in `/{name}`, still quoted."""
    caller: Any = None
    """Who showed a key; None where none are asked for."""


def new_request_id() -> str:
    """A fresh id, for callers who sent none."""
    return f"req_{random.getrandbits(72):018x}"


def request_id_of(request: Request) -> str:
    """The caller's `X-Request-Id` if it is 1 to 128 visible ASCII characters, else a new one; stable per request."""
    known = request.known_id
    if known is None:
        sent = request.headers.get("X-Request-Id")
        known = sent if sent is not None and _VALID_REQUEST_ID.match(sent) else new_request_id()
        request.known_id = known
    return known
