"""What is cut into requests does not depend on the pieces in which it comes, and never more of it is kept than allowed."""

from __future__ import annotations

import asyncio
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crema.host.http_body import HELD_BYTES, Body, BrokenBody
from crema.host.http_reader import MAX_HEADERS, MAX_UNENDED_BYTES, RequestReader
from crema.host.http_request import Request
from tests.crema.host.test_service_framing import DOUBTFUL

HEAD = b"POST /a/b?c=d&e HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
WELL_FORMED = {
    "a length": HEAD + b"Content-Length: 5\r\n\r\nhello",
    "no body": b"\r\n" + HEAD + b"\r\n",
    "chunks": CHUNKED + b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: v\r\n\r\n",
    "two in a row": HEAD + b"Content-Length: 2\r\n\r\nhi" + CHUNKED + b"2\r\nho\r\n0\r\n\r\n",
    "an upgrade with a length": UPGRADE + b"Content-Length: 5\r\n\r\nhello" + b"PRI * HTTP/2.0\r\n",
    "an upgrade with chunks": UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nPRI",
    "an upgrade without a body": UPGRADE + b"\r\n" + HEAD + b"\r\n",
    "the last one": HEAD + b"Connection: close\r\n\r\n" + HEAD + b"\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n" + HEAD + b"\r\n",
    "a whole URL": b"GET http://y:1/a?b#c HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes beyond ASCII": HEAD + b"X: caf\xe9 \xe2\x82\xac \r\n\r\n",
}


class Listener:
    """Takes down what was read."""

    is_lost = False

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.is_held = False

    def request_begun(self, request: Request) -> None:
        self.requests.append(request)

    def write(self, data: bytes) -> None:
        raise AssertionError(data)

    def hold(self) -> None:
        self.is_held = True

    def go_on(self) -> None:
        self.is_held = False


def read(*pieces: bytes) -> list[object]:
    """All that is known of the requests in `pieces`, and what was refused."""
    listener = Listener()
    reader = RequestReader(listener)
    found: list[object] = []
    refused = None
    for piece in pieces:
        fault = reader.feed(memoryview(piece))
        if fault is not None:
            refused = fault.code
    for each in listener.requests:
        try:
            body: object = each.body.take()
        except BrokenBody as error:
            body = type(error)
        found.append(
            (
                each.method, each.path, each.query, each.authority, list(each.headers.items()), each.is_1_0,
                each.keeps_alive, each.content_length, body, each.body.is_whole,
            )
        )  # fmt: skip
    return [*found, refused]


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("name", [*WELL_FORMED, *DOUBTFUL])
def test_byte_by_byte_is_read_like_the_whole(name: str) -> None:
    data = {**DOUBTFUL, **WELL_FORMED}[name]
    assert read(*(data[n : n + 1] for n in range(len(data)))) == read(data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*WELL_FORMED.values(), *DOUBTFUL.values()]), min_size=1, max_size=3),
    st.lists(st.integers(0, 2000), max_size=6),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=2),
)
def test_any_pieces_of_anything_are_read_like_the_whole(
    parts: list[bytes], cuts: list[int], changes: list[tuple[int, int]]
) -> None:
    data = bytearray(b"".join(parts))
    for at, byte in changes:
        data[at % len(data)] = byte
    assert read(*in_pieces(bytes(data), cuts)) == read(bytes(data))


def test_bodies_come_whole_whatever_the_headers_ask_for() -> None:
    for name, bodies in {
        "a length": [b"hello"],
        "no body": [b""],
        "chunks": [b"hello"],
        "two in a row": [b"hi", b"ho"],
        "an upgrade with a length": [b"hello"],
        "an upgrade with chunks": [b"hello"],
        "an upgrade without a body": [b""],
        "the last one": [b""],
        "HTTP/1.0": [b""],
    }.items():
        *found, refused = read(WELL_FORMED[name])
        assert [each[-2:] for each in found] == [(body, True) for body in bodies], name  # type: ignore[index]
        assert refused is None


def test_a_target_is_cut_and_left_quoted() -> None:
    listener = Listener()
    RequestReader(listener).feed(memoryview(b"GET /a%2Fb//c?d=%20#e HTTP/1.1\r\nHost: x\r\n\r\n"))
    [request] = listener.requests
    assert (request.path, request.query, request.authority) == ("/a%2Fb//c", "d=%20", None)
    [whole, _] = read(WELL_FORMED["a whole URL"])
    assert whole[1:4] == ("/a", "b", "y:1")  # type: ignore[index]


@pytest.mark.parametrize("target", [b"*", b"a", b"x:80", b"http:/a", b"http:///a", b"http://[x/a", b"?a"])
def test_a_target_that_is_no_path_is_refused(target: bytes) -> None:
    assert read(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target) == ["invalid_request"]


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"GET /", b"a"),
        (HEAD + b"X", b"a"),
        (HEAD + b"X: ", b"a"),
        (CHUNKED + b"0\r\nT: ", b"a"),
        (CHUNKED + b"0\r\n", b"T: a\r\n"),
        (CHUNKED + b"3;", b"a"),
        (CHUNKED + b"3;a=", b"b"),
        (HEAD, b"a: b\r\n"),
    ],
)
def test_what_never_ends_is_not_kept(begun: bytes, more: bytes) -> None:
    reader = RequestReader(Listener())
    reader.feed(memoryview(begun))
    piece = memoryview(more * (1024 // len(more)))
    tracemalloc.start()
    try:
        for _ in range(2000):
            fault = reader.feed(piece)
            assert fault is None or fault.code == "headers_too_large"
        assert reader.is_done
        assert tracemalloc.get_traced_memory()[1] < 4 * (MAX_UNENDED_BYTES + MAX_HEADERS * 1024)
    finally:
        tracemalloc.stop()


async def test_a_body_is_held_up_to_a_limit_until_it_is_taken() -> None:
    source = Listener()
    body = Body(source)
    waiting = asyncio.create_task(body.next())
    await asyncio.sleep(0)
    body.feed(b"a")
    assert await waiting == b"a"
    for _ in range(HELD_BYTES // 1024 + 1):
        assert not source.is_held
        body.feed(bytes(1024))
    assert source.is_held
    assert len(body.take()) == HELD_BYTES + 1024
    assert not source.is_held
    body.feed(bytes(2 * HELD_BYTES))
    assert source.is_held
    body.forget()
    assert not source.is_held
    body.feed(bytes(2 * HELD_BYTES))
    assert not source.is_held


async def test_who_waits_for_a_body_is_told_of_its_end() -> None:
    for error in (None, BrokenBody("no chunk"), ConnectionResetError("left")):
        body = Body(Listener())
        waiting = asyncio.create_task(body.read())
        await asyncio.sleep(0)
        body.feed(b"abc")
        await asyncio.sleep(0)
        if error is None:
            body.end()
            assert await waiting == b"abc"
            body.fail(BrokenBody("too late to matter"))
            assert body.take() == b""
        else:
            body.fail(error)
            with pytest.raises(type(error)):
                await waiting
