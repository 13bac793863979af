"""Requests that two readers could cut apart differently: one answer each, the connection closed, nothing smuggled in."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.crema.host.small_service import running, statuses

HIDDEN = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


def _post(*lines: bytes, body: bytes = HIDDEN) -> bytes:
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def _chunked(body: bytes, coding: bytes = b"chunked") -> bytes:
    return _post(b"Transfer-Encoding: " + coding, body=body)


LENGTH = b"Content-Length: %d" % len(HIDDEN)
END = b"0\r\n\r\n"

# fmt: off
DOUBTFUL = {
    "a length beside chunks": _post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=END + HIDDEN),
    "chunks beside a length": _post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"39\r\n" + HIDDEN + b"\r\n" + END),
    "two lengths": _post(b"Content-Length: 0", LENGTH),
    "the same length twice": _post(LENGTH, LENGTH),
    "a list of lengths": _post(b"Content-Length: 0, %d" % len(HIDDEN)),
    "a length with a plus": _post(b"Content-Length: +0"),
    "a length below 0": _post(b"Content-Length: -1"),
    "a length in hex": _post(b"Content-Length: 0x0"),
    "a length of nothing": _post(b"Content-Length: "),
    "a length of 23 digits": _post(b"Content-Length: 99999999999999999999999"),
    "a space before the colon": _post(b"Content-Length : %d" % len(HIDDEN)),
    "an unknown coding": _post(b"Transfer-Encoding: xchunked"),
    "an unknown coding and a length": _post(b"Transfer-Encoding: xchunked", b"Content-Length: 0"),
    "chunked, then identity": _chunked(END + HIDDEN, b"chunked, identity"),
    "identity, then chunked": _chunked(END + HIDDEN, b"identity, chunked"),
    "gzip, then chunked": _chunked(END + HIDDEN, b"gzip, chunked"),
    "two codings": _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=END + HIDDEN),
    "chunked twice": _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=END + HIDDEN),
    "a space before the coding's colon": _post(b"Transfer-Encoding : chunked", body=END + HIDDEN),
    "a vertical tab before the coding": _post(b"Transfer-Encoding:\x0bchunked", b"Content-Length: 0"),
    "a folded coding": _post(b"Transfer-Encoding:", b" chunked", body=END + HIDDEN),
    "chunks in HTTP/1.0": _chunked(END + HIDDEN).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "a chunk size with 0x": _chunked(b"0x0\r\n\r\n" + HIDDEN),
    "a chunk size over 64 bits": _chunked(b"10000000000000000\r\n\r\n" + HIDDEN),
    "a chunk size below 0": _chunked(b"-0\r\n\r\n" + HIDDEN),
    "a chunk size with an underscore": _chunked(b"0_0\r\n\r\n" + HIDDEN),
    "a chunk longer than it says": _chunked(b"1\r\nabc\r\n" + END + HIDDEN),
    "chunks ended by line feeds": _chunked(b"0\n\n" + HIDDEN),
    "a chunk extension ended by a line feed": _chunked(b"0;\n\r\n\r\n" + HIDDEN),
    "a length in the trailer": _chunked(b"0\r\nContent-Length: 99\r\n\r\n" + HIDDEN),
    "line feeds alone": b"POST /echo HTTP/1.1\nHost: x\nContent-Length: 0\n\n" + HIDDEN,
    "a carriage return alone": _post(b"X: a\rContent-Length: 0"),
    "a NUL in a value": _post(b"X: a\0b", b"Content-Length: 0"),
    "a NUL in a name": _post(b"X\0: a", b"Content-Length: 0"),
    "a space before the method": b" " + _post(b"Content-Length: 0"),
    "a space before the first header": b"POST /echo HTTP/1.1\r\n Host: x\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "no Host": b"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "two Hosts": _post(b"Host: y", b"Content-Length: 0"),
    "a small method": b"post" + _post(b"Content-Length: 0")[4:],
    "an unknown version": _post(b"Content-Length: 0").replace(b"HTTP/1.1", b"HTTP/1.2", 1),
    "no version": b"GET /echo\r\n" + HIDDEN,
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + HIDDEN,
}
LARGE = {
    "70 headers": _post(*(b"X-%d: a" % n for n in range(70))),
    "a line of 9000 bytes": b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN,
    "a value of 9000 bytes": _post(b"X: " + b"a" * 9000),
    "a name of 9000 bytes": _post(b"a" * 9000 + b": x"),
    "a line of 8193 bytes": _post(b"X: " + b"a" * 8190),
    "a name and a value of 5000 bytes": _post(b"a" * 5000 + b": " + b"b" * 5000),
    "a value of 5 MB": _post(b"X: " + b"a" * 5_000_000),
    "100,000 headers": _post(*(b"a: b" for _ in range(100_000))),
}
# fmt: on


@pytest.mark.parametrize(
    ("name", "status"), [*((name, 400) for name in DOUBTFUL), *((name, 431) for name in LARGE)]
)
async def test_what_is_framed_doubtfully_gets_one_answer_and_the_end(name: str, status: int) -> None:
    async with running() as small:
        reader, writer = await small.connect()
        writer.write({**DOUBTFUL, **LARGE}[name])
        head = b""
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            try:
                rest = await reader.read()
            except ConnectionResetError:
                # of megabytes that nobody reads the sender hears by a reset
                assert name in ("a value of 5 MB", "100,000 headers")
                rest = b'{"code":"headers_too_large"}'
        writer.close()
        assert statuses(head + rest) == [status]
        code = "invalid_request" if status == 400 else "headers_too_large"
        assert json.loads(rest)["code"] == code
        assert "/smuggled" not in small.seen


@pytest.mark.parametrize(
    "lines",
    [
        (b"Connection: Upgrade", b"Upgrade: websocket"),
        (
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        ),
        (b"Expect: 100-continue",),
        (b"X-Http-Method-Override: GET",),
    ],
)
async def test_a_body_is_a_body_whatever_else_the_headers_ask_for(lines: tuple[bytes, ...]) -> None:
    async with running() as small:
        answer = await small.ask(_post(*lines, LENGTH) + _post(b"Connection: close", body=b""))
        assert set(small.seen) == {"/echo"}
        assert b'{"bytes":%d}' % len(HIDDEN) in answer
        assert statuses(answer) == [200] * len(small.seen)


async def test_well_formed_requests_in_a_row_are_all_answered() -> None:
    async with running() as small:
        tail = _post(b"Content-Length: 0", b"Connection: close", body=b"")
        answer = await small.ask(
            _chunked(b"3;a=b\r\nabc\r\n" + END) + _post(b"Content-Length: 2", body=b"ab") + tail
        )
        assert statuses(answer) == [200, 200, 200]


async def test_a_header_line_of_8_kib_is_taken() -> None:
    async with running() as small:
        answer = await small.ask(
            _post(b"X: " + b"a" * 8189, b"Content-Length: 0", b"Connection: close", body=b"")
        )
        assert statuses(answer) == [200]


async def test_a_broken_chunk_that_comes_later_is_told_at_once_and_only_once() -> None:
    async with running() as small:
        reader, writer = await small.connect()
        writer.write(_chunked(b"3\r\nabc\r\n"))
        await asyncio.sleep(0.05)
        writer.write(b"zz\r\n" + HIDDEN)
        async with asyncio.timeout(2):
            answer = await reader.read()
        writer.close()
        assert statuses(answer) == [400]
        assert "/smuggled" not in small.seen


async def test_what_is_no_request_behind_a_whole_one_has_its_own_answer() -> None:
    async with running() as small:
        reader, writer = await small.connect()
        async with asyncio.timeout(2):
            writer.write(_post(b"Content-Length: 2", body=b"ab"))
            first = await reader.readuntil(b'{"bytes":2}')
            writer.write(b"no request\r\n\r\n")
            second = await reader.read()
        writer.close()
        assert statuses(first) + statuses(second) == [200, 400]


@pytest.mark.parametrize("line", [b"GET /echo", b"GET /echo HTTP/0.9", b"POST /echo"])
async def test_a_request_of_before_http_1_is_refused_with_a_status_line_that_can_be_read(line: bytes) -> None:
    async with running() as small:
        answer = await small.ask(line + b"\r\n\r\n")
        assert statuses(answer) == [400]
        assert small.seen == []


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
@pytest.mark.parametrize(
    "sent",
    [_post(b"Content-Length: 9", body=b"abc"), _chunked(b"9\r\nabc"), _post(b"Content-Length: 9", body=b"")],
)
async def test_who_ends_in_the_middle_of_a_body_is_told(sent: bytes, pause_s: float) -> None:
    async with running() as small:
        reader, writer = await small.connect()
        writer.write(sent)
        await asyncio.sleep(pause_s)
        writer.write_eof()
        async with asyncio.timeout(2):
            answer = await reader.read()
        writer.close()
        assert statuses(answer) == [400]


async def test_who_ends_while_a_refused_body_still_comes_has_one_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as small:
        for pause_s in (0.0, 0.05):
            reader, writer = await small.connect()
            writer.write(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
            await asyncio.sleep(pause_s)
            writer.write_eof()
            async with asyncio.timeout(1):
                answer = await reader.read()
            writer.close()
            assert statuses(answer) == [401]
        assert caplog.text == ""


async def test_a_refusal_before_the_body_ends_the_connection() -> None:
    async with running() as small:
        for path in (b"/refuse", b"/nowhere"):
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" % path
            answer = await small.ask(head + HIDDEN)
            assert statuses(answer) == [401 if path == b"/refuse" else 404]
            assert b"Connection: close" in answer
        assert "/smuggled" not in small.seen


async def test_bodies_of_requests_that_wait_their_turn_come_whole() -> None:
    large = bytes(1_000_000)
    requests = [_post(b"Content-Length: %d" % len(large), body=large)] * 3
    async with running() as small:
        answer = await small.ask(b"".join(requests) + _post(b"Connection: close", body=b""))
        assert statuses(answer) == [200] * 4
        assert answer.count(b'{"bytes":1000000}') == 3


async def test_thousands_of_requests_in_a_row_are_answered_one_after_the_other() -> None:
    many = 5000
    async with running() as small:
        reader, writer = await small.connect()
        writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n" * many)
        writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        assert statuses(answer) == [200] * (many + 1)


async def test_what_follows_the_last_request_is_not_read() -> None:
    async with running() as small:
        for behind in (HIDDEN, b"\x00\xff no request", b""):
            answer = await small.ask(_post(b"Content-Length: 2", b"Connection: close", body=b"ab" + behind))
            assert statuses(answer) == [200]
        assert "/smuggled" not in small.seen
