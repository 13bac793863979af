"""Slow, idle and too many connections: each is closed in its time, and who asks properly does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
import weakref

import pytest

from crema.host import http_connection as connection_module
from crema.host import service as service_module
from crema.host.http_answer import Answer
from crema.host.http_request import Request
from crema.host.service import Route
from tests.crema.host.small_service import running, statuses

TCP_ESTABLISHED = 1
GET = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
POST_HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
LAST = GET[:-2] + b"Connection: close\r\n\r\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules with shorter times."""
    monkeypatch.setattr(connection_module, "HEADER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(connection_module, "WRITE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(service_module, "CROWDED_KEEPALIVE_S", 0.1)
    monkeypatch.setattr(service_module, "_SWEEP_EVERY_S", 0.05)


async def test_a_connection_over_the_cap_is_told_503_and_closed() -> None:
    async with running(connection_cap=32) as small:
        held = [await small.connect(f"127.0.0.{2 + n % 4}") for n in range(32)]
        await small.until(32)
        answer = await small.ask(b"")
        assert statuses(answer) == [503]
        assert b'"code":"not_ready"' in answer
        assert b"Retry-After: 1\r\n" in answer
        held.pop()[1].close()
        await small.until(31)
        assert statuses(await small.ask(LAST)) == [200]
        for _, writer in held:
            writer.close()


async def test_one_address_cannot_take_every_connection() -> None:
    async with running(connection_cap=40) as small:
        held = [await small.connect() for _ in range(20)]
        await small.until(20)
        assert statuses(await small.ask(b"")) == [503]
        reader, writer = await small.connect("127.0.0.2")
        writer.write(LAST)
        async with asyncio.timeout(5):
            assert statuses(await reader.read()) == [200]
        for _, each in [*held, (reader, writer)]:
            each.close()


@pytest.mark.parametrize(
    ("sent", "after_an_answer"),
    [
        (b"", b""),
        (GET[:20], b""),
        (GET, GET[:20]),
        (GET, b"\r\n"),
        (GET + GET[:20], b""),
        (GET + GET[:20], b"X"),
    ],
)
@pytest.mark.usefixtures("quick")
async def test_headers_that_do_not_end_are_closed(sent: bytes, after_an_answer: bytes) -> None:
    async with running() as small:
        began = time.monotonic()
        reader, writer = await small.connect()
        writer.write(sent)
        async with asyncio.timeout(5):
            if sent.startswith(GET):
                await reader.readuntil(b"}")
                writer.write(after_an_answer)
            await reader.read()
        assert 0.15 < time.monotonic() - began < 2
        writer.close()


@pytest.mark.usefixtures("quick")
async def test_headers_that_come_byte_by_byte_have_no_longer() -> None:
    async with running() as small:
        reader, writer = await small.connect()

        async def trickle() -> None:
            for byte in GET * 10:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        task = asyncio.create_task(trickle())
        async with asyncio.timeout(2):
            # a byte that meets a socket just closed is answered with a reset: closed as well, and not answered
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        task.cancel()
        writer.close()


@pytest.mark.usefixtures("quick")
async def test_a_body_may_take_longer_than_headers_may() -> None:
    async with running() as small:
        reader, writer = await small.connect()
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            writer.write(b"x")
            await asyncio.sleep(0.04)
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"}") != b""
        writer.close()


async def _who_does_not_read(port: int, data: bytes) -> socket.socket:
    """A caller with a small window that sends and then reads nothing."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(caller, ("127.0.0.1", port))
    await loop.sock_sendall(caller, data)
    return caller


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
@pytest.mark.usefixtures("quick")
async def test_a_caller_who_does_not_read_is_given_up(more: bytes) -> None:
    async with running() as small:
        caller = await _who_does_not_read(small.port, b"GET /large HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
        await small.until(1)
        began = time.monotonic()
        await small.until(0)
        assert 0.1 < time.monotonic() - began < 2
        assert caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_ESTABLISHED
        caller.close()


@pytest.mark.usefixtures("quick")
async def test_requests_in_a_row_whose_answers_nobody_reads_are_given_up() -> None:
    async with running() as small:
        caller = await _who_does_not_read(small.port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        await small.until(1)
        await small.until(0)
        assert small.seen.count("/large") <= 3
        caller.close()


@pytest.mark.usefixtures("quick")
async def test_a_caller_who_reads_slowly_but_in_time_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "WRITE_TIMEOUT_S", 3.0)
    async with running() as small:
        caller = await _who_does_not_read(small.port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.05)
        received = 0
        async with asyncio.timeout(5):
            while received < 4 * 2**20:
                received += len(await loop.sock_recv(caller, 2**20))
        caller.close()


@pytest.mark.usefixtures("quick")
async def test_in_a_crowd_the_idle_make_room() -> None:
    async with running(connection_cap=40) as small:
        idle = [await small.connect(f"127.0.0.{2 + n % 2}") for n in range(20)]
        for reader, writer in idle:
            writer.write(GET)
            await reader.readuntil(b"}")
        async with asyncio.timeout(5):
            # the first to become idle; once it is gone there may be no crowd any more
            await idle[0][0].read()
        assert small.service.connections < 20
        for _, writer in idle:
            writer.close()


@pytest.mark.usefixtures("quick")
async def test_without_a_crowd_the_idle_are_kept() -> None:
    async with running(connection_cap=40) as small:
        reader, writer = await small.connect()
        writer.write(GET)
        await reader.readuntil(b"}")
        await asyncio.sleep(0.4)
        assert small.service.connections == 1
        writer.write(GET)
        async with asyncio.timeout(5):
            await reader.readuntil(b"}")
        writer.close()


async def test_whoever_leaves_is_counted_out() -> None:
    for sent in (
        b"",
        GET[:20],
        GET,
        POST_HEAD,
        POST_HEAD + bytes(1000),
        b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        async with running() as small:
            _, writer = await small.connect()
            writer.write(sent)
            await small.until(1)
            writer.transport.abort()
            await small.until(0)


async def test_behind_a_refused_body_nothing_is_taken_in() -> None:
    refused = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + bytes(50)
    further = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + bytes(1000)
    async with running() as small:
        reader, writer = await small.connect()
        async with asyncio.timeout(5):
            writer.write(refused)
            await reader.readuntil(b"\r\n\r\n")
            # the rest of it, and in the same read what would be other requests
            writer.write(bytes(50) + further * 20 + further[:-1])
            await small.until(0)
        writer.close()
        assert small.seen == ["/refuse"]


@pytest.mark.parametrize(
    ("raised", "statuses_seen"),
    [
        (RuntimeError("wrong"), [500]),
        (ConnectionResetError("elsewhere"), [500]),
        (asyncio.CancelledError(), []),
    ],
)
async def test_a_handler_that_breaks_leaves_nobody_waiting(
    raised: BaseException, statuses_seen: list[int]
) -> None:
    async def handler(request: Request) -> Answer:
        raise raised

    async with running() as small:
        small.service._add(Route("GET", "/broken", handler))
        answer = await small.ask(GET.replace(b"/echo", b"/broken")[:-2] + b"Connection: close\r\n\r\n")
        assert statuses(answer) == statuses_seen
        await small.until(0)


async def test_closing_waits_for_an_answer_on_its_way_and_not_for_the_next_question() -> None:
    async with running() as small:
        caller = await _who_does_not_read(small.port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await small.until(1)
        while not small.seen:
            await asyncio.sleep(0.005)
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        closing = asyncio.create_task(small.service.close(20))
        received = 0
        async with asyncio.timeout(10):
            while piece := await loop.sock_recv(caller, 2**20):
                received += len(piece)
            await closing
        assert received > 4 * 2**20
        assert time.monotonic() - began < 5
        caller.close()


async def test_a_connection_that_has_ended_is_not_left_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        async with running() as small:
            kept = []
            for sent in (b"", LAST, POST_HEAD + bytes(1000), b"no request\r\n\r\n"):
                _, writer = await small.connect()
                writer.write(sent)
                await small.until(1)
                kept += [weakref.ref(each) for each in small.service._open]
                await asyncio.sleep(0.02)
                writer.transport.abort()
                await small.until(0)
            # timers of connections that lingered hold them for a moment
            async with asyncio.timeout(5):
                while any(each() is not None for each in kept):
                    await asyncio.sleep(0.05)
            assert len(kept) == 4
    finally:
        gc.enable()


async def test_of_thousands_of_requests_in_a_row_a_few_are_read_at_once() -> None:
    """While their caller does not read, too: what is kept for it then is what it has sent."""
    body = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
    async with running() as small:
        for first in (b"", body):
            caller = await _who_does_not_read(small.port, first + b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            await small.until(1)
            loop = asyncio.get_running_loop()
            sending = loop.create_task(loop.sock_sendall(caller, GET * 10_000))
            [connection] = small.service._open
            async with asyncio.timeout(5):
                while not connection._unread:
                    await asyncio.sleep(0.005)
            assert len(connection._waiting) < 100
            sending.cancel()
            caller.close()
            await small.until(0)
