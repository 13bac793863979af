"""What a connection may hold of a minion's places: those of a request whose pixels do not come."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from crema import wire
from crema.host.channel import Channel
from crema.host.metrics import Metrics
from minion import peers as peers_module
from minion.answers import AnswerPacker
from minion.meters import Meters
from minion.peers import Peers
from minion.request import RequestReader
from tests.crema.host.channel_ends import HELLO, FakeTransport, feed, frame
from tests.minion.cards import tensor_card
from tests.minion.dispatcher_rig import ITEM, Rig, turn


class Connected:
    """A caller at a minion's channel, without a network."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.rig.now = time.monotonic()
        self.rig.ready()
        card = tensor_card()
        meters = Meters(Metrics(), "toy", "1.0")
        peers = Peers(self.rig.dispatcher, RequestReader(card), AnswerPacker("toy", "1.0"), meters)
        self.channel = Channel(peers, "minion", frozenset({"coordinator"}))
        self.transport = FakeTransport()
        self.channel.connection_made(self.transport)
        feed(self.channel, self.transport, HELLO)
        self.transport.written.clear()

    def feed(self, data: bytes) -> None:
        feed(self.channel, self.transport, data)

    async def answer(self) -> dict[str, Any]:
        """The header of the next frame that was sent."""
        written = self.transport.written
        async with asyncio.timeout(5):
            while not written:
                await asyncio.sleep(0.001)
        header_bytes, payload_bytes = wire.decode_prefix(bytes(written))
        header = wire.decode_header(bytes(written[8 : 8 + header_bytes]))
        del written[: 8 + header_bytes + payload_bytes]
        return header


@pytest.fixture
async def connected(monkeypatch: pytest.MonkeyPatch) -> Connected:
    monkeypatch.setattr(peers_module, "_LOOK_S", 0.005)
    return Connected()


def _infer(key: int, **more: Any) -> bytes:
    return frame({"v": 1, "kind": "infer", "id": key, "items": [ITEM], **more}, b"\x07" * 4)


async def test_a_request_whose_pixels_do_not_come_gives_its_place_back_when_its_deadline_passes(
    connected: Connected,
) -> None:
    whole = _infer(1, remaining_ms=100)
    connected.feed(whole[:-1])
    assert connected.rig.gate.pending == 1
    late = await connected.answer()
    assert (late["id"], late["status"], late["error"]["code"]) == (1, 504, "deadline_exceeded")
    assert connected.rig.gate.pending == 0
    # what comes after all is nobody's, and the next frame is whole
    connected.feed(whole[-1:] + _infer(1))
    await turn()
    assert [pixels for _, pixels, _ in connected.rig.worker.batches] == [[b"\x07" * 4]]
    connected.rig.finish()
    answered = await connected.answer()
    assert (answered["id"], answered["status"]) == (1, 200)


async def test_one_without_a_deadline_waits_for_its_pixels_for_a_bounded_time(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.feed(_infer(1)[:-1])
    await asyncio.sleep(0.05)
    assert connected.rig.gate.pending == 1
    monkeypatch.setattr(peers_module, "_PIXELS_S", 0.01)
    assert (await connected.answer())["error"]["code"] == "deadline_exceeded"
    assert connected.rig.gate.pending == 0


async def test_a_connection_that_ends_amid_its_pixels_gives_their_place_back(connected: Connected) -> None:
    connected.feed(_infer(1)[:-1])
    connected.channel.connection_lost(None)
    assert connected.rig.gate.pending == 0
