"""RequestReader: cuts what one caller sends into requests, within limits, and refuses what two readers could cut differently.

llhttp, by way of httptools, reads the protocol, as strictly as it can; here stand the limits that it leaves open, and what
must not be left to doubt: where a request ends, and for whom it is.
"""

from __future__ import annotations

from typing import Final, NoReturn, Protocol
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from multidict import CIMultiDict

from crema.errors import CremaError
from crema.host.http_body import Body, BrokenBody, Source
from crema.host.http_request import Headers, Request, Wire

# without its line end; also the most that a request's target may have
MAX_LINE_BYTES: Final = 8190
MAX_HEADERS: Final = 64
# The parser keeps a line until it is whole: more than this of one that has not ended is not read.
MAX_UNENDED_BYTES: Final = 2 * MAX_LINE_BYTES
# A head costs much more to keep than its bytes, so no more of them are read at once than this; of a body as much as comes.
PIECE_BYTES: Final = 2048
CHUNKED_PIECE_BYTES: Final = 16 * 1024
# Fields that say one thing only (RFC 9110): who sends one twice means to be read in two ways.
_ONCE: Final = frozenset(
    {"content-length", "content-location", "content-range", "content-type", "host", "max-forwards", "transfer-encoding", "user-agent"}
)  # fmt: skip


class Taker(Wire, Source, Protocol):
    """The connection that reads."""

    def request_begun(self, request: Request) -> None:
        """A request's head has come whole; its body follows."""


class _Refused(Exception):
    """Stops the parser; `RequestReader._fault` says why."""


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    def __init__(self, taker: Taker) -> None:
        self.is_amid_head = False
        """Whether a head has begun to come and is not whole."""
        self.is_done = False
        """Whether what else comes is no request any more."""
        self.receiving: Body | None = None
        """The body that has not come whole."""
        self.headers: Headers = CIMultiDict()
        """Of the request that is being read, or was last."""
        self._taker: Taker | None = taker
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._is_last = False
        self.most_at_once = PIECE_BYTES
        """With how many bytes `feed` should be called next, at most, lest there be many requests in them."""
        self._fault: CremaError | None = None
        self._target = b""
        self._left_bytes = self._trailers = 0
        self._steps = 0
        self._unended = 0
        self._reads_on = False
        # what to read on with when the parser takes what follows an `Upgrade` for another protocol
        self._framing = b""

    def feed(self, data: memoryview) -> CremaError | None:
        """Read what has come. What is no request is said; where it is a body that makes no sense, who reads that is told
        instead."""
        parser = self._parser
        if self.is_done or parser is None:
            return None
        steps = self._steps
        try:
            try:
                parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                if not self.is_done:
                    begin = int(upgrade.args[0])
                    self._read_on(data[begin:])
        except HttpParserError:
            # what comes after the last request does not matter
            return None if self.is_done else self._break(self._fault or malformed())
        if self._steps != steps:
            self._unended = 0
        else:
            self._unended += len(data)
            if self._unended > MAX_UNENDED_BYTES:
                return self._break(headers_too_large())
        return None

    def ended(self) -> bool:
        """The caller will send nothing more. Whether that leaves a body unfinished, whose reader is told so."""
        body = self.receiving
        self.is_done = True
        if body is None:
            return False
        self.receiving = None
        body.fail(BrokenBody("the body ended early"))
        return True

    def end_with_this(self) -> None:
        """Behind the body that is coming nothing more is read."""
        self._is_last = True

    def close(self) -> None:
        """Nothing more is read. Parser, reader and connection know one another: here they let go, or they would stay until
        the garbage collector comes."""
        self.is_done = True
        self._parser = self._taker = self.receiving = None

    # -- what the parser calls -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._reads_on:
            return
        if self.is_done:
            raise _Refused
        self.headers = CIMultiDict()
        self.is_amid_head = True
        self._target = b""
        self._trailers = 0
        self._steps += 1

    def on_url(self, url: bytes) -> None:
        if self._reads_on:
            return
        self._steps += 1
        self._target = self._target + url if self._target else url
        if len(self._target) > MAX_LINE_BYTES:
            self._refuse(headers_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reads_on:
            return
        self._steps += 1
        if len(name) + len(value) > MAX_LINE_BYTES:
            self._refuse(headers_too_large())
        if not self.is_amid_head:
            # behind the last chunk: nobody asks for these
            self._trailers += 1
            if self._trailers > MAX_HEADERS:
                self._refuse(headers_too_large())
            return
        headers = self.headers
        if len(headers) >= MAX_HEADERS:
            self._refuse(headers_too_large())
        field = name.decode("ascii")
        if field in headers and field.lower() in _ONCE:
            self._refuse(malformed())
        headers.add(field, value.strip(b" \t").decode("utf-8", "surrogateescape"))

    def on_headers_complete(self) -> None:
        if self._reads_on:
            return
        self._steps += 1
        parser, taker, headers = self._parser, self._taker, self.headers
        assert parser is not None and taker is not None
        version = parser.get_http_version()
        coding = headers.get("Transfer-Encoding")
        method = parser.get_method().decode("ascii")
        if coding is not None and (coding.lower() != "chunked" or version == "1.0"):
            self._refuse(not_taken())
        if version not in ("1.0", "1.1") or method == "CONNECT":
            self._refuse(not_taken())
        if version == "1.1" and "Host" not in headers:
            self._refuse(malformed())
        self.is_amid_head = False
        body = Body(taker)
        path, query, authority = self._split(method)
        request = Request(method, path, query, authority, headers, body, taker)
        request.is_1_0 = version == "1.0"
        # an upgrade is never taken: what follows the request may be meant in the other protocol
        request.keeps_alive = parser.should_keep_alive() and "Upgrade" not in headers
        length = headers.get("Content-Length")
        if length is not None:
            request.content_length = int(length)
        self._framing = b""
        if parser.should_upgrade() and (coding is not None or request.content_length):
            self._framing = b"Content-Length: %d" % (request.content_length or 0)
            if coding is not None:
                self._framing = b"Transfer-Encoding: chunked"
        self._is_last = not request.keeps_alive
        self.receiving = body
        self._left_bytes = request.content_length or 0
        self.most_at_once = max(PIECE_BYTES, self._left_bytes) if coding is None else CHUNKED_PIECE_BYTES
        taker.request_begun(request)

    def on_chunk_header(self) -> None:
        self._steps += 1

    def on_body(self, piece: bytes) -> None:
        self._steps += 1
        if self._left_bytes:
            self._left_bytes -= len(piece)
            self.most_at_once = max(PIECE_BYTES, self._left_bytes)
        if self.receiving is not None:
            self.receiving.feed(piece)

    def on_message_complete(self) -> None:
        self._steps += 1
        if self._framing:
            return  # its body comes yet
        body, self.receiving = self.receiving, None
        if body is not None:
            body.end()
        self.is_done = self._is_last
        self.most_at_once = PIECE_BYTES

    # -- what it does not do ---------------------------------------------------------------------------------------

    def _split(self, method: str) -> tuple[str, str, str | None]:
        """The target's path, query, and authority where it is a whole URL."""
        target = self._target.decode("utf-8", "surrogateescape")
        if target[0] != "/" and not (target == "*" and method == "OPTIONS"):
            try:
                parts = urlsplit(target)
            except ValueError:
                self._refuse(malformed())
            if not parts.netloc or parts.scheme not in ("http", "https"):
                self._refuse(malformed())
            return parts.path or "/", parts.query, parts.netloc
        path, _, query = target.partition("#")[0].partition("?")
        return path, query, None

    def _read_on(self, rest: memoryview) -> None:
        """The body of a request that asks for another protocol, by a parser that does not know it. Raises HttpParserError."""
        framing, self._framing = self._framing, b""
        self._parser = parser = HttpRequestParser(self)
        self._reads_on = True
        parser.feed_data(b"POST / HTTP/1.1\r\nConnection: close\r\n%b\r\n\r\n" % framing)
        self._reads_on = False
        parser.feed_data(rest)

    def _refuse(self, fault: CremaError) -> NoReturn:
        """Stop the parser."""
        self._fault = fault
        raise _Refused

    def _break(self, fault: CremaError) -> CremaError | None:
        """Read nothing more. The fault, unless it is a body's: then its reader is told that it is broken."""
        self.is_done = True
        self.is_amid_head = False
        body, self.receiving = self.receiving, None
        if body is None:
            return fault
        body.fail(BrokenBody("the body's chunks cannot be read"))
        return None


def malformed() -> CremaError:
    """It is no HTTP request."""
    return CremaError(
        "invalid_request", "this is not a well-formed HTTP request; check the client or the proxy in front"
    )


def headers_too_large() -> CremaError:
    """A line, or the number of them, is over its limit."""
    return CremaError(
        "headers_too_large",
        f"a request line or header is over {MAX_LINE_BYTES} bytes or there are more than {MAX_HEADERS} headers; send less",
    )


def not_taken() -> CremaError:
    """It is well-formed, but where it ends could be read in two ways."""
    return CremaError(
        "invalid_request",
        "this way to frame a request is not taken; speak HTTP/1.1 and send Content-Length or Transfer-Encoding: chunked alone",
    )
