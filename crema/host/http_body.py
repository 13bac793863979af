"""Body: what comes of a request's body, piece by piece, held until its handler takes it."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

# More than this is not held for a handler that does not read: the caller is not read from until it does.
HELD_BYTES: Final = 128 * 1024


class BrokenBody(Exception):
    """The body's framing makes no sense, or it ended before its length."""


class Source(Protocol):
    """Where a body comes from."""

    def hold(self) -> None:
        """Read nothing from the caller for now."""

    def go_on(self) -> None:
        """Read from the caller again."""


class Body:
    """The body of one request. One handler reads it: at once when all of it is here, else piece by piece."""

    __slots__ = ("_error", "_held", "_is_wanted", "_pieces", "_source", "_waiter", "is_whole")

    def __init__(self, source: Source) -> None:
        self.is_whole = False
        """Whether its last byte has come. It may not have been read yet."""
        self._source = source
        self._pieces: list[bytes] = []
        self._held = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_wanted = True

    # -- the handler's side ----------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """What is here and was not taken yet; may be nothing. Raises BrokenBody, or ConnectionError when the caller left."""
        if self._error is not None:
            # a fresh one: what was raised holds the frames that it passed, and they this
            raise type(self._error)(*self._error.args)
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        if self._held > HELD_BYTES:
            self._source.go_on()
        self._held = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def next(self) -> bytes:
        """The next bytes, as soon as there are some; nothing at the end. Raises as `take`."""
        while not self._pieces and not self.is_whole and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    async def read(self) -> bytes:
        """All of it, however much that is. Raises as `take`."""
        pieces = []
        while piece := await self.next():
            pieces.append(piece)
        return b"".join(pieces)

    # -- the connection's side -------------------------------------------------------------------------------------

    def feed(self, piece: bytes) -> None:
        """More has come."""
        if not self._is_wanted:
            return
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > HELD_BYTES:
            self._source.hold()
        self._wake()

    def end(self) -> None:
        """The last byte has come."""
        self.is_whole = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come, and this is why. Nothing changes where all has come."""
        if not self.is_whole and self._error is None:
            self._error = error
            self._wake()

    def forget(self) -> None:
        """Nobody will read what is here or still comes."""
        self._is_wanted = False
        self._pieces = []
        if self._held > HELD_BYTES:
            self._source.go_on()
        self._held = 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
