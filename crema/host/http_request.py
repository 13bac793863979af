"""Request: one HTTP request, with what the listener and its tier come to know of it on its way."""

from __future__ import annotations

import random
import re
from typing import Any, Final, Protocol

from multidict import CIMultiDict

from crema.host.http_body import Body

Headers = CIMultiDict[str]

_VALID_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}\Z")
_GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(Protocol):
    """The connection that a request came by."""

    @property
    def is_lost(self) -> bool:
        """Whether the caller has left."""

    def write(self, data: bytes) -> None:
        """Send something to the caller before the answer. Raises ConnectionError."""


class Request:
    """The head of a request; its body may still be coming.

    `path` and `query` are as they were sent, still quoted, and without the `?`. `authority` is that of a target that was
    a whole URL.
    """

    __slots__ = (
        "_wire", "authority", "body", "caller", "content_length", "headers", "is_1_0", "keeps_alive", "known_id", "method",
        "path", "query", "segment",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        authority: str | None,
        headers: Headers,
        body: Body,
        wire: Wire,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.authority = authority
        self.headers = headers
        self.body = body
        self.is_1_0 = False
        """Whether it speaks HTTP/1.0."""
        self.keeps_alive = True
        """Whether the caller may send another one after it."""
        self.content_length: int | None = None
        """The bytes its body has, where it says so."""
        self.known_id: str | None = None
        """What `request_id_of` has said."""
        self.segment = ""
        """The last segment of a path that matched a route ending in `/{name}`, still quoted."""
        self.caller: Any = None
        """Who showed a key; None where none are asked for."""
        self._wire = wire

    @property
    def caller_left(self) -> bool:
        """Whether nobody waits for the answer."""
        return self._wire.is_lost

    @property
    def is_held_back(self) -> bool:
        """Whether the caller waits for a word before it sends its body (`Expect: 100-continue`; curl does above 1 MB). Over
        HTTP/1.0 nobody does."""
        return not self.is_1_0 and self.headers.get("Expect", "").lower() == "100-continue"

    def ask_for_body(self) -> None:
        """Tell a caller who waits to go on. Raises ConnectionError."""
        self._wire.write(_GO_ON)


def new_request_id() -> str:
    """A fresh id, for callers who sent none."""
    return f"req_{random.getrandbits(72):018x}"


def id_from(headers: Headers) -> str:
    """The caller's `X-Request-Id` if it is 1 to 128 visible ASCII characters, else a new one."""
    sent = headers.get("X-Request-Id")
    return sent if sent is not None and _VALID_REQUEST_ID.match(sent) else new_request_id()


def request_id_of(request: Request) -> str:
    """As `id_from`, but stable per request."""
    known = request.known_id
    if known is None:
        request.known_id = known = id_from(request.headers)
    return known
