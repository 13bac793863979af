"""What an answer looks like on the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request
from crema.host.service import Route, Service

HEAD = "Content-Type: text/plain\r\n"


async def small(request: Request) -> Answer:
    await request.body.read()
    return Answer(503 if "busy" in request.query else 200, HEAD, b"hello")


async def large(request: Request) -> Answer:
    return Answer(200, HEAD, bytes(8 << 20))


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, int]]:
    made = Service([Route("POST", "/answer", small), Route("POST", "/large", large)])
    port = await made.start("127.0.0.1", 0)
    yield made, port
    await made.close(1.0)


async def exchange(port: int, request: bytes) -> tuple[bytes, bytes]:
    """One request; (head, body) of the answer, and the connection is left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        return head, await asyncio.wait_for(reader.readexactly(5), 5)
    finally:
        writer.close()


async def test_status_headers_and_body_are_as_given(service: tuple[Service, int]) -> None:
    head, body = await exchange(
        service[1], b"POST /answer?busy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    )
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Content-Type: text/plain" in lines
    assert "Content-Length: 5" in lines
    assert sum(line.startswith("Date: ") for line in lines) == 1
    assert not any(line.startswith("Connection") for line in lines)
    assert body == b"hello"


async def test_requests_sent_together_are_answered_in_order(service: tuple[Service, int]) -> None:
    one = b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    reader, writer = await asyncio.open_connection("127.0.0.1", service[1])
    writer.write(one * 3)
    for _ in range(3):
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200 OK")
        assert await reader.readexactly(5) == b"hello"
    writer.close()


@pytest.mark.parametrize(
    ("request_head", "connection"),
    [
        (b"POST /answer HTTP/1.0\r\nConnection: keep-alive\r\n", b"Connection: keep-alive\r\n"),
        (b"POST /answer HTTP/1.0\r\n", b"Connection: close\r\n"),
        (b"POST /answer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"Connection: close\r\n"),
    ],
)
async def test_the_connections_fate_is_said(
    service: tuple[Service, int], request_head: bytes, connection: bytes
) -> None:
    head, _ = await exchange(service[1], request_head + b"Content-Length: 0\r\n\r\n")
    assert connection in head


async def test_a_draining_service_closes_after_it(service: tuple[Service, int]) -> None:
    made, port = service
    made.is_draining = True
    head, _ = await exchange(port, b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: close\r\n" in head


async def test_a_client_that_does_not_read_gets_no_second_answer_buffered(
    service: tuple[Service, int],
) -> None:
    """What waits unread for one connection is at most about one answer, however many it asked for."""
    made, port = service
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
    writer.write(b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" * 4)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    [connection] = made._open
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() <= 9 << 20
    writer.transport.abort()


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b"])
def test_a_header_s_value_cannot_begin_another_header(value: str) -> None:
    with pytest.raises(ValueError, match="X-Sent"):
        answer(b"", "text/plain", headers={"X-Sent": value})


async def test_head_has_the_length_of_the_body_and_no_body(service: tuple[Service, int]) -> None:
    made, port = service
    made._add(Route("GET", "/large", large))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HEAD /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    whole = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert whole.endswith(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % (8 << 20) in whole
