"""Link: the worker's end of the channel to its host, blocking. Light ring. It knows frames, not what they ask."""

from __future__ import annotations

import socket
from typing import Any

from crema import wire


class Link:
    """Frames over a blocking stream socket. Raises EOFError when the host is gone.

    What comes is read into a small buffer, most frames whole with one system call; what of a payload is not there yet goes
    straight to where it belongs.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = memoryview(bytearray(8 + wire.MAX_HEADER_BYTES))
        self._start = self._end = 0
        """What of the buffer was received and not yet read."""

    def read_header(self) -> tuple[dict[str, Any], int]:
        """The next frame's header, and how many bytes of payload follow it."""
        self._await(8)
        header_bytes, payload_bytes = wire.decode_prefix(self._buffer, self._start)
        self._await(8 + header_bytes)
        start = self._start + 8
        self._start = end = start + header_bytes
        return wire.decode_header(self._buffer[start:end]), payload_bytes

    def has_more(self) -> bool:
        """Whether anything has come that was not read yet."""
        if self._start < self._end:
            return True
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False

    def read_into(self, view: memoryview) -> None:
        """Fill `view`."""
        here = min(len(view), self._end - self._start)
        if here:
            view[:here] = self._buffer[self._start : self._start + here]
            self._start += here
            view = view[here:]
        while len(view):
            received = self._receive(view, socket.MSG_WAITALL)
            view = view[received:]

    def _await(self, size: int) -> None:
        """Have at least `size` bytes in the buffer."""
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = 0
        elif start + size > len(self._buffer):
            self._buffer[: end - start] = bytes(self._buffer[start:end])
            self._start, self._end = 0, end - start
        while self._end - self._start < size:
            self._end += self._receive(self._buffer[self._end :])

    def _receive(self, view: memoryview, flags: int = 0) -> int:
        received = self._socket.recv_into(view, 0, flags)
        if not received:
            raise EOFError("the host closed the channel")
        return received

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Write one frame."""
        self._socket.sendall(wire.encode_header(header, len(payload)) + payload)
