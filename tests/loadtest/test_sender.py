"""A sender: calls go out when they are due, are counted from then, and end in exactly one way each."""

from __future__ import annotations

import asyncio
import json
import socket
from time import monotonic
from typing import Any

import pytest

from loadtest.phase import Phase, in_turn
from loadtest.photo_stock import PhotoStock
from loadtest.sender import Orders, Sender
from tests.loadtest.told_server import FULL, Told, answer, part, told_server, whole

PHOTOS = PhotoStock([(1.0, [b"\xff\xd8one", b"\xff\xd8two", b"\xff\xd8three"])])


def orders(url: str, *phases: Phase, **changes: Any) -> Orders:
    given: dict[str, Any] = {
        "url": url, "key": None, "phases": tuple(in_turn(list(phases))), "photos": (), "seed": 1, "slo_s": 0.5,
        "bin_s": 1.0, "connections": 200, "give_up_s": 10.0, **changes,
    }  # fmt: skip
    return Orders(**given)


async def sent(given: Orders) -> Sender:
    sender = Sender(given, PHOTOS)
    async with asyncio.timeout(20):
        await sender.run(monotonic() + 0.02)
    return sender


async def ended(tell: Told, *phases: Phase, **changes: Any) -> Sender:
    async with told_server(tell) as server:
        return await sent(orders(server.url, *phases, **changes))


async def test_a_stall_is_charged_to_every_call_that_was_due_meanwhile() -> None:
    """The server stops for one second. A sender that waited for it would see one slow call of sixty."""
    stalled_until = 0.0

    async def stall(number: int) -> tuple[int, Any]:
        nonlocal stalled_until
        if number == 10:
            stalled_until = monotonic() + 1.0
        await asyncio.sleep(max(0.0, stalled_until - monotonic()))
        return 200, answer()

    sender = await ended(stall, Phase("p", 1.5, 40.0, "constant"))
    figures = sender.tallies[0].outcomes.figures(1.5)
    assert figures.offered == 60
    assert figures.percentiles_s[99.0] == pytest.approx(1.0, abs=0.15)
    # forty calls came due in that second, one after the other: half of them waited longer than half of it
    assert figures.counts["ok"] - figures.good == pytest.approx(20, abs=4)


async def test_a_call_does_not_wait_for_those_before_it() -> None:
    release = asyncio.Event()

    async def hold(number: int) -> tuple[int, Any]:
        if number == 19:
            release.set()
        await release.wait()
        return 200, answer()

    sender = await ended(hold, Phase("p", 0.5, 40.0, "constant"))
    assert sender.tallies[0].outcomes.counts["ok"] == 20


async def test_how_late_a_call_was_sent_is_counted_beside_its_latency() -> None:
    async def block(number: int) -> tuple[int, Any]:
        if number == 5:
            until = monotonic() + 0.3
            while monotonic() < until:  # the sender shares this loop: it cannot send meanwhile
                pass
        return 200, answer()

    tally = (await ended(block, Phase("p", 0.5, 40.0, "constant"))).tallies[0]
    assert tally.lag.max_s >= 0.2
    assert tally.outcomes.answered.max_s >= tally.lag.max_s


ENDS: dict[str, tuple[int, Any, tuple[str, str]]] = {
    "whole": (200, answer(), ("ok", "")),
    "partial": (200, answer(tags=part(), captions=part("error", code="model_failed")), ("partial", "")),
    "full": (429, FULL, ("refused", "overloaded")),
    "not ready": (503, {"status": 503, "code": "not_ready"}, ("failed", "not_ready")),
    "a proxy's": (502, b"<html>Bad gateway", ("failed", "http_502")),
    "not ours": (200, b"<html>hello", ("failed", "not_an_answer")),
    "a list": (200, [1, 2], ("failed", "not_an_answer")),
}


@pytest.mark.parametrize("name", ENDS)
async def test_every_answer_is_counted_as_what_it_is(name: str) -> None:
    status, body, (kind, code) = ENDS[name]

    async def tell(number: int) -> tuple[int, Any]:
        return status, body

    outcomes = (await ended(tell, Phase("p", 0.1, 50.0, "constant"))).tallies[0].outcomes
    assert outcomes.counts[kind] == outcomes.offered == 5  # type: ignore[index]
    assert dict(outcomes.codes) == ({code: 5} if code else {})


async def test_a_call_without_an_answer_is_given_up_and_counts_with_the_time_it_waited() -> None:
    async def never(number: int) -> tuple[int, Any]:
        await asyncio.sleep(5)
        return 200, answer()

    figures = (
        (await ended(never, Phase("p", 0.1, 50.0, "constant"), give_up_s=0.2)).tallies[0].outcomes.figures(0.1)
    )  # fmt: skip
    assert figures.codes == {"gave_up": 5}
    assert figures.percentiles_s[50.0] == pytest.approx(0.2, abs=0.15)


async def test_where_nobody_listens_calls_are_lost_and_the_run_goes_on() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        sender = await sent(orders(url, Phase("p", 0.1, 50.0, "constant")))
    outcomes = sender.tallies[0].outcomes
    assert (outcomes.counts["lost"], dict(outcomes.codes)) == (5, {"not_connected": 5})


async def test_a_call_that_finds_all_connections_taken_is_counted() -> None:
    async def slow(number: int) -> tuple[int, Any]:
        await asyncio.sleep(0.3)
        return 200, answer()

    tally = (await ended(slow, Phase("p", 0.2, 50.0, "constant"), connections=2)).tallies[0]
    assert tally.held == 8
    # and its waiting is part of its latency
    assert tally.outcomes.answered.max_s > 1.0


async def test_models_are_told_apart_with_their_batches() -> None:
    async def tell(number: int) -> tuple[int, Any]:
        tags = part(batch_size=8 if number % 3 else 1)
        return 200, answer(tags=tags, captions=part("error", model="captions", code="overloaded"))

    models = (await ended(tell, Phase("p", 0.3, 50.0, "constant"))).tallies[0].models
    assert set(models) == {"tags@3.1", "captions@3.1"}
    assert dict(models["tags@3.1"].batch_sizes) == {1: 5, 8: 10}
    # 10 of 8 are one batch and a quarter, 5 of 1 are five
    assert models["tags@3.1"].mean_batch == pytest.approx(15 / 6.25)
    assert dict(models["captions@3.1"].codes) == {"overloaded": 15}


async def test_each_phase_sends_its_own_options_and_the_key() -> None:
    async with told_server(whole) as server:
        await sent(
            orders(
                server.url,
                Phase("a", 0.1, 20.0, "constant", query=(("models", "tags@3,captions"), ("lane", "bulk"))),
                Phase("b", 0.1, 20.0, "constant", query=(("deadline_ms", "250"),)),
                key="crema_secret",
            )
        )
    assert (
        server.queries == [{"models": "tags@3,captions", "lane": "bulk"}] * 2 + [{"deadline_ms": "250"}] * 2
    )
    assert set(server.keys) == {"Bearer crema_secret"}


async def test_senders_that_share_a_run_send_what_one_would() -> None:
    async def photos_of(senders: int) -> list[bytes]:
        async with told_server(whole) as server:
            phase = Phase("p", 0.2, 100.0)
            await asyncio.gather(
                *(sent(orders(server.url, phase, number=n, senders=senders)) for n in range(senders))
            )
            return sorted(server.photos)

    assert await photos_of(1) == await photos_of(3)


async def test_a_stopped_sender_sends_no_more_and_keeps_what_it_has_counted() -> None:
    async with told_server(whole) as server:
        sender = Sender(orders(server.url, Phase("p", 60.0, 50.0, "constant")), PHOTOS)
        running = asyncio.create_task(sender.run(monotonic()))
        async with asyncio.timeout(10):
            while not server.photos:
                await asyncio.sleep(0.01)
            sender.stop()
            await running
    assert 1 <= sender.tallies[0].outcomes.counts["ok"] == len(server.photos) < 100


async def test_a_bug_of_ours_ends_the_run_instead_of_leaving_calls_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(status: int, raw: bytes) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("loadtest.sender.read_answer", broken)
    with pytest.raises(KeyError, match="a bug"):
        await ended(whole, Phase("p", 60.0, 50.0, "constant"))


def test_orders_survive_a_way_as_json() -> None:
    given = orders("http://127.0.0.1:1", Phase("a", 1.0, 2.0, query=(("lane", "bulk"),)), number=1, senders=2)
    assert Orders.read(json.loads(json.dumps(given.document()))) == given
