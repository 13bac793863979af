"""Answer: status, header lines and body of an answer, all known before its first byte is written."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

# instead of a library's own, which would tell strangers its version
SERVER: Final = "crema"

_STATUS_LINES: Final = {
    each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\nServer: {SERVER}\r\n" for each in HTTPStatus
}
# A larger body is written as it is: a copy for everybody who does not read would be too much.
JOIN_BYTES: Final = 32 * 1024
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Answer:
    """An answer. `head` is its header lines, each ended by CRLF, without those that are the connection's to say
    (Server, X-Request-Id, Connection, Content-Length, Date); whoever makes it sees to it that no value holds a control character.
    """

    __slots__ = ("body", "head", "is_last", "status")

    def __init__(self, status: int, head: str, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body
        self.is_last = False
        """Whether the connection ends with it."""

    def encoded(self, request_id: str, connection: str, *, has_body: bool = True) -> list[bytes]:
        """As it is written, in one piece or two. `connection` is a header line, or nothing; without `has_body` only the body's
        length is told."""
        body = self.body
        length = "" if self.status == 204 else f"Content-Length: {len(body)}\r\n"
        head = (
            f"{_STATUS_LINES[self.status]}X-Request-Id: {request_id}\r\n{self.head}{connection}{length}Date: {_clock.now()}\r\n\r\n"
        ).encode("latin-1")
        if not has_body:
            return [head]
        return [head + body] if len(body) <= JOIN_BYTES else [head, body]


def answer(
    body: bytes, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer of that type, with further headers. Raises ValueError for a control character in one of their values."""
    lines = []
    for name, value in {"Content-Type": content_type, **(headers or {})}.items():
        if _CONTROLS.search(value):
            raise ValueError(f"the header {name} would hold a control character")
        lines.append(f"{name}: {value}\r\n")
    return Answer(status, "".join(lines), body)


class _Clock:
    """The date as HTTP writes it, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
        return self._text


_clock = _Clock()
