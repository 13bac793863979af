"""AnswerLedger: every request has a number of its own, and every answer that ever comes to it is written down.

    ledger = AnswerLedger()
    peer = await ledger.connect(minion.ports["channel"])
    number = peer.ask(sentinel=SLEEP, remaining_ms=5000)
    await ledger.settled()
    ledger.assert_one_answer_each()

The number is the request's id on the wire and stands in its pixels too, and the chaos toy answers with it: so an answer
that is somebody else's shows. Answers that come late or a second time, which a `ChannelClient` discards, are kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from crema import wire
from crema.host.channel import Buffer, Channel

PATIENCE_S = 30.0
ITEM: dict[str, Any] = {"shape": [128], "dtype": "uint8"}


def numbered(number: int, sentinel: int = 0) -> bytes:
    """The pixels of an item for the chaos toy: what it does, and which number it gives back."""
    return bytes([sentinel]) + bytes(7) + number.to_bytes(8, "little") + bytes(112)


@dataclass
class Entry:
    """One request: when it was sent, every answer to it, and when it ended (loop time)."""

    number: int
    content: int
    """What the model must say: the number that its pixels hold."""
    sent_at: float
    answers: list[dict[str, Any]] = field(default_factory=list)
    ended_at: float | None = None
    is_lost: bool = False
    """Whether its connection ended before an answer came."""
    is_cancelled: bool = False

    @property
    def code(self) -> str | None:
        """The first answer's error, of the request or of its item; None when it was answered."""
        answer = self.answers[0]
        error = answer.get("error") or answer["outcomes"][0].get("error")
        return None if error is None else str(error["code"])

    @property
    def is_retryable(self) -> bool:
        """Whether the first answer's error says that another replica may be tried."""
        answer = self.answers[0]
        error = answer.get("error") or answer["outcomes"][0].get("error") or {}
        return bool(error.get("retryable"))

    @property
    def is_right(self) -> bool:
        """Whether the first answer is the model's, and this request's own."""
        return bool(self.answers) and self.answers[0].get("outcomes") == [{"ok": self.content}]


class AnswerLedger:
    """All requests of a test, over however many connections."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.strays: list[dict[str, Any]] = []
        """Answers whose id nobody asked with, on that connection."""
        self._changed = asyncio.Event()

    async def connect(self, port: int) -> LedgerPeer:
        """A new connection to a minion's channel."""
        peer = LedgerPeer(self)
        await asyncio.get_running_loop().create_connection(lambda: peer.channel, "127.0.0.1", port)
        async with asyncio.timeout(PATIENCE_S):
            await peer.opened.wait()
        return peer

    @property
    def open(self) -> list[Entry]:
        """Neither answered nor lost nor cancelled."""
        return [entry for entry in self.entries.values() if entry.ended_at is None and not entry.is_cancelled]

    async def settled(self, patience_s: float = PATIENCE_S) -> None:
        """Until nothing is open any more."""
        async with asyncio.timeout(patience_s):
            while self.open:
                self._changed.clear()
                await self._changed.wait()

    def assert_one_answer_each(self) -> None:
        """No request without an answer (but those cancelled or lost), none with two, none with somebody else's."""
        assert not self.open, f"never answered: {[entry.number for entry in self.open][:10]}"
        assert not self.strays, f"answers that nobody asked for: {self.strays[:3]}"
        for entry in self.entries.values():
            assert len(entry.answers) <= 1, f"answered {len(entry.answers)} times: {entry}"
            assert entry.answers or entry.is_lost or entry.is_cancelled
            if entry.answers and entry.code is None:
                assert entry.is_right, f"somebody else's answer: {entry}"

    def codes(self) -> dict[str, int]:
        """How many ended in which way: `ok`, `lost`, or an error's code."""
        found: dict[str, int] = {}
        for entry in self.entries.values():
            if entry.answers or entry.is_lost:
                word = "lost" if not entry.answers else entry.code or "ok"
                found[word] = found.get(word, 0) + 1
        return found

    def note(self) -> None:
        """Something ended."""
        self._changed.set()


class LedgerPeer:
    """One connection, which is not opened again when it ends. A `Receiver`."""

    def __init__(self, ledger: AnswerLedger) -> None:
        self.channel = Channel(self, "coordinator", frozenset({"minion"}))
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self._ledger = ledger
        self._mine: dict[int, Entry] = {}

    def ask(self, sentinel: int = 0, *, content: int | None = None, **header: Any) -> Entry:
        """Send one item; its pixels hold its own number, or `content` where the same pixels are to come again."""
        loop, entries = asyncio.get_running_loop(), self._ledger.entries
        number = len(entries) + 1
        content = number if content is None else content
        entry = entries[number] = self._mine[number] = Entry(number, content, loop.time())
        self.channel.send(
            {"v": wire.WIRE_VERSION, "kind": "infer", "id": number, "items": [ITEM], **header},
            numbered(content, sentinel),
        )
        return entry

    def cancel(self, entry: Entry) -> None:
        """Give a request up."""
        entry.is_cancelled = True
        self.channel.send({"v": wire.WIRE_VERSION, "kind": "cancel", "id": entry.number})
        self._ledger.note()

    async def leave(self, *, at_once: bool = False) -> None:
        """End the connection; `at_once` drops what was not written yet."""
        if at_once:
            self.channel.abort()
        else:
            self.channel.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self.closed.wait()

    # -- the Receiver's side -------------------------------------------------------------------------------------------

    def channel_opened(self, channel: Channel) -> None:
        self.opened.set()

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        return True

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        entry = self._mine.get(header["id"])
        if entry is None:
            self._ledger.strays.append(header)
            return
        entry.answers.append(header)
        if entry.ended_at is None:
            entry.ended_at = asyncio.get_running_loop().time()
        self._ledger.note()

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        now = asyncio.get_running_loop().time()
        for entry in self._mine.values():
            if entry.ended_at is None:
                entry.ended_at, entry.is_lost = now, True
        self.closed.set()
        self._ledger.note()
