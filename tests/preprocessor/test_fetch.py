"""One fetch against real servers on loopback: what reaches them, what does not, and what a caller is told."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from crema.host.fetch_hosts import parse_host_rule, parse_network
from preprocessor.fetch import NOT_REACHED, Fetch, Fetched, FetchFailed, Limits
from preprocessor.fetch_addresses import Addresses
from preprocessor.header import MAX_IMAGE_BYTES
from tests.preprocessor.fetch_servers import (
    PHOTO,
    Answer,
    WebServer,
    answer,
    redirect_to,
    serving,
)
from tests.preprocessor.loopback_spellings import other_schemes, urls

QUICK = Limits(connect_s=0.5, total_s=5.0)
SITE = "127.0.0.1"
"""Where the servers of a test are that may be asked."""
INSIDE = "127.0.0.2"
"""Where the server is that nobody may reach: by its address it is no different from any other in the house."""
NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "rebind.test"}


class Names(AbstractResolver):
    """Numbers as the system reads them, this machine's names, and `answers`: one list of addresses per look-up.

    Asks nobody. A name that is not known does not exist; `hang.test` is never answered.
    """

    def __init__(self, answers: dict[str, list[list[str]]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host in self.answers:
            addresses = self.answers[host].pop(0)
        elif host == "hang.test":
            await asyncio.sleep(60)
        elif host.lower().rstrip(".") in NAMES:
            addresses = ["127.0.0.1", "::1"]
        else:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            addresses = [str(row[4][0]) for row in found]
        return [
            ResolveResult(
                hostname=host, host=address, port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]  # fmt: skip

    async def close(self) -> None:
        pass


def loopback_only(family: int, **more: Any) -> socket.socket:
    """A machine without a way out: no test connects to anything but itself."""
    made = socket.socket(family=family, **more)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
    made.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    return made


def fetch_of(
    hosts: Sequence[str],
    private: Sequence[str] = (),
    *,
    limits: Limits = QUICK,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> Fetch:
    return Fetch(
        [parse_host_rule(host) for host in hosts],
        Addresses(map(parse_network, private), make_socket=loopback_only),
        limits=limits,
        resolver=resolver or Names(),
        tls=tls,
    )


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    started: list[WebServer] = []

    async def start(
        answers: dict[str, Answer] | None = None, *hosts: str, tls: ssl.SSLContext | None = None
    ) -> WebServer:
        server = WebServer(answers)
        started.append(server)
        await server.listen(*(hosts or (SITE,)), tls=tls)
        return server

    yield start
    for server in started:
        await server.close()


async def fetched(server: WebServer, path: str = "/photo.jpg", **more: Any) -> Fetched:
    """What a fetch gets that may ask `server`, and nobody else."""
    async with fetch_of([f"{SITE}:{server.port}"], [SITE], **more) as fetch:
        return await fetch.image(f"http://{SITE}:{server.port}{path}")


async def failure(server: WebServer, path: str, **more: Any) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        await fetched(server, path, **more)
    return caught.value


# -- what may not be reached -------------------------------------------------------------------------------------------


async def outcomes(fetch: Fetch, asked: Sequence[str]) -> dict[str, Any]:
    """The outcome of each URL, all asked at once."""
    found = await asyncio.gather(*(fetch.image(url) for url in asked), return_exceptions=True)
    return dict(zip(asked, found, strict=True))


async def test_no_spelling_of_this_machine_reaches_a_server_inside() -> None:
    async with serving("127.0.0.1", "::1") as inside:
        asked = urls(inside.port)
        assert len(asked) >= 60
        async with fetch_of(["*", f"*:{inside.port}"]) as fetch:
            found = await outcomes(fetch, asked)
        assert {url: outcome for url, outcome in found.items() if not isinstance(outcome, FetchFailed)} == {}
        assert {outcome.error.message for outcome in found.values()} == {NOT_REACHED}
        assert (inside.connections, inside.hits) == (0, [])


async def test_the_address_alone_stops_every_spelling_whatever_the_text_of_the_url() -> None:
    """The HTTP client itself with nothing before it but the socket's check: this is where the promise is kept."""
    async with serving("127.0.0.1", "::1") as inside:
        reached = await spellings_that_reach(inside, Addresses())
        assert (reached, inside.connections) == ([], 0)


async def test_without_the_check_many_spellings_reach_it() -> None:
    """The negative control: the table is worth something."""
    async with serving("127.0.0.1", "::1") as inside:
        everything = Addresses(map(parse_network, ("0.0.0.0/0", "::/0")))
        assert len(await spellings_that_reach(inside, everything)) >= 20
        assert inside.connections >= 20


async def spellings_that_reach(inside: WebServer, addresses: Addresses) -> list[str]:
    async def try_one(url: str) -> str | None:
        try:
            async with session.get(url) as response:
                return url if response.status == 200 else None
        except (aiohttp.ClientError, OSError, ValueError):
            return None

    connector = aiohttp.TCPConnector(
        socket_factory=addresses.open_socket, resolver=Names(), force_close=True, limit=0
    )
    timeout = aiohttp.ClientTimeout(total=5.0, connect=1.0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        found = await asyncio.gather(*map(try_one, urls(inside.port)))
    return [url for url in found if url is not None]


async def test_nothing_but_http_and_https_is_asked_for() -> None:
    async with serving("127.0.0.1", "::1") as inside, fetch_of(["*", f"*:{inside.port}"]) as fetch:
        found = await outcomes(fetch, other_schemes(inside.port))
        assert {outcome.reason for outcome in found.values()} == {"refused_url"}
        assert inside.connections == 0


async def test_a_name_that_answers_differently_the_second_time_is_judged_the_second_time() -> None:
    """Rebinding: public when it is looked up first, inside when it is looked up again."""
    async with serving("127.0.0.1") as inside:
        names = Names({"rebind.test": [["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "127.0.0.1"]]})
        async with fetch_of([f"rebind.test:{inside.port}"], resolver=names) as fetch:
            found = [await outcomes(fetch, [f"http://rebind.test:{inside.port}/"]) for _ in range(3)]
        reasons = [outcome.reason for each in found for outcome in each.values()]
        assert (reasons, len(names.asked)) == (["unreachable", "refused_address", "refused_address"], 3)
        assert inside.connections == 0


async def test_a_name_is_looked_up_again_for_a_redirect_to_itself(serve: Callable[..., Any]) -> None:
    outside = await serve({"/a": b""})
    outside.answers["/a"] = redirect_to(f"http://rebind.test:{outside.port}/b")
    async with serving(INSIDE) as inside:
        names = Names({"rebind.test": [[SITE], [INSIDE]]})
        async with fetch_of([f"rebind.test:{outside.port}"], [SITE], resolver=names) as fetch:
            with pytest.raises(FetchFailed) as caught:
                await fetch.image(f"http://rebind.test:{outside.port}/a")
        assert (caught.value.reason, len(outside.hits), inside.connections) == ("refused_address", 1, 0)


async def test_a_redirect_to_a_server_inside_is_not_followed(serve: Callable[..., Any]) -> None:
    outside = await serve()
    async with serving(INSIDE) as inside:
        async with fetch_of([f"*:{outside.port}", f"*:{inside.port}"], [SITE]) as fetch:
            for host in (INSIDE, "0x7f.2", "2130706434", f"[::ffff:{INSIDE}]", f"user@{INSIDE}"):
                outside.redirect(f"http://{host}:{inside.port}/secret")
                with pytest.raises(FetchFailed) as caught:
                    await fetch.image(f"http://{SITE}:{outside.port}/redirect")
                assert caught.value.error.message == NOT_REACHED
        assert (len(outside.hits), inside.connections) == (5, 0)


async def test_a_port_that_is_not_on_the_list_is_not_asked(serve: Callable[..., Any]) -> None:
    server = await serve()
    async with fetch_of([SITE, "*"], [SITE]) as fetch:
        found = await outcomes(fetch, [f"http://{SITE}:{server.port}/", f"http://{SITE}:22/"])
    assert {outcome.reason for outcome in found.values()} == {"refused_host"}
    assert server.connections == 0


async def test_what_is_refused_and_what_cannot_be_reached_look_and_last_alike(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    server = await serve()
    with socket.socket() as unused:
        unused.bind((SITE, 0))
        closed = unused.getsockname()[1]
        asked = {
            "refused_url": f"ftp://{SITE}:{server.port}/",
            "refused_host": f"http://{SITE}:22/",
            "refused_address": f"http://{INSIDE}:{server.port}/",
            "refused the connection": f"http://{SITE}:{closed}/",
            "no such name": f"http://nowhere.test:{closed}/",
            "a name that is too long": f"http://{'a' * 64}.test:{closed}/",
            "no answer to the look-up": f"http://hang.test:{closed}/",
            "no TLS": f"https://{SITE}:{server.port}/",
        }

        async def timed(url: str) -> tuple[str, str, int, float]:
            began = time.monotonic()
            with pytest.raises(FetchFailed) as caught:
                await fetch.image(url)
            error = caught.value.error
            return error.code, error.message, error.status, time.monotonic() - began

        limits = Limits(connect_s=0.3, total_s=3.0)
        async with fetch_of([f"*:{server.port}", f"*:{closed}"], [SITE], limits=limits) as fetch:
            found = dict(zip(asked, await asyncio.gather(*map(timed, asked.values())), strict=True))
    assert {each[:3] for each in found.values()} == {("url_fetch_failed", NOT_REACHED, 422)}
    # never earlier than an attempt may take; how much later is the machine's load
    assert min(each[3] for each in found.values()) >= 0.299
    assert max(each[3] for each in found.values()) < 1.5


# -- what is fetched ---------------------------------------------------------------------------------------------------


async def test_a_photo_is_fetched_as_it_is(serve: Callable[..., Any]) -> None:
    server = await serve()
    got = await fetched(server, "/a/b.jpg?size=%2F1&x=a+b")
    assert (bytes(got.image), got.host, got.redirects) == (PHOTO, SITE, 0)
    assert server.hits[0].startswith("GET /a/b.jpg?size=%2F1&x=a+b HTTP/1.1\r\n")


async def test_three_redirects_are_followed_and_not_four(serve: Callable[..., Any]) -> None:
    server = await serve({f"/{n}": redirect_to(f"/{n - 1}", 300 + n % 2 + 1) for n in (1, 2, 3, 4)})
    assert (await fetched(server, "/3")).redirects == 3
    assert (await failure(server, "/4")).reason == "redirects"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_kind_of_redirect_is_followed(serve: Callable[..., Any], status: int) -> None:
    server = await serve({"/a": redirect_to("b.jpg", status)})
    assert bytes((await fetched(server, "/a")).image) == PHOTO
    assert server.hits[1].startswith("GET /b.jpg ")


async def test_no_cookie_credential_referrer_or_proxy_goes_along(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = await serve({"/a": redirect_to("/b")}), await serve()
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {SITE} login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{SITE}:{proxy.port}")
    await fetched(server, "/a")
    assert (len(server.hits), proxy.connections) == (2, 0)
    for head in server.hits:
        names = {line.partition(":")[0].lower() for line in head.splitlines()[1:] if line}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert "Accept-Encoding: identity" in head


# -- what is not a photo -----------------------------------------------------------------------------------------------

BOMB = gzip.compress(bytes(10_000_000))


@pytest.mark.parametrize(
    ("sent", "reason", "code"),
    [
        (answer(BOMB, "Content-Encoding: gzip"), "encoding", "url_fetch_failed"),
        (answer(gzip.compress(PHOTO), "Content-Encoding: GZIP"), "encoding", "url_fetch_failed"),
        (answer(PHOTO, "Content-Encoding: identity", "Content-Encoding: br"), "encoding", "url_fetch_failed"),
        (answer(BOMB), "type", "unsupported_media_type"),
        (answer(b"<html>" + bytes(100), "Content-Type: image/jpeg"), "type", "unsupported_media_type"),
        (answer(b"<svg/>", "Content-Type: image/svg+xml"), "type", "unsupported_media_type"),
        (answer(b"II*\0" + bytes(40)), "type", "unsupported_media_type"),
        (answer(b""), "empty", "url_fetch_failed"),
        (answer(PHOTO, status="404 Not Found"), "status", "url_fetch_failed"),
        (answer(PHOTO, status="206 Partial Content"), "status", "url_fetch_failed"),
        (answer(b"", status="204 No Content"), "status", "url_fetch_failed"),
        (answer(PHOTO, status="500 Oh"), "status", "url_fetch_failed"),
        (answer(PHOTO)[:-20], "broken", "url_fetch_failed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broken", "url_fetch_failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "broken", "url_fetch_failed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", "broken", "url_fetch_failed"),
        (b"", "broken", "url_fetch_failed"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "refused_url", "url_fetch_failed"),
        (redirect_to("file:///etc/passwd"), "refused_url", "url_fetch_failed"),
        (redirect_to("data:image/gif;base64,R0lGODlh"), "refused_url", "url_fetch_failed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_IMAGE_BYTES + 1),
            "too_large",
            "image_too_large",
        ),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_what_is_no_photo_is_refused_with_its_reason(
    serve: Callable[..., Any], sent: bytes, reason: str, code: str
) -> None:
    failed = await failure(await serve({"/a": sent}), "/a")
    assert (failed.reason, failed.error.code) == (reason, code)
    assert "; " in failed.error.message or ". " in failed.error.message  # what is wrong, then what to do


async def test_an_endless_body_ends_at_20_mib(serve: Callable[..., Any]) -> None:
    server = await serve()
    server.answers["/a"] = server.endless
    failed = await failure(server, "/a", limits=Limits(total_s=30.0))
    assert (failed.reason, failed.error.code, failed.error.status) == ("too_large", "image_too_large", 413)
    assert server.sent < MAX_IMAGE_BYTES + 16 * 1024 * 1024  # what lay in sockets beside it


async def test_an_endless_page_ends_at_its_first_bytes(serve: Callable[..., Any]) -> None:
    server = await serve()

    async def page(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n<!doctype html>"
            + bytes(85)
            + b"\r\n"
        )
        await asyncio.sleep(60)

    server.answers["/a"] = page
    assert (await failure(server, "/a")).reason == "type"


@pytest.mark.parametrize("kind", ["slow", "silent"])
async def test_a_server_that_takes_its_time_is_left(serve: Callable[..., Any], kind: str) -> None:
    server = await serve()
    server.answers["/a"] = getattr(server, kind)
    began = time.monotonic()
    failed = await failure(server, "/a", limits=Limits(connect_s=0.1, total_s=0.3))
    assert (failed.reason, failed.error.message) == ("slow", NOT_REACHED)
    assert 0.3 <= time.monotonic() - began < 2


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl is missing")
    path = tmp_path_factory.mktemp("tls") / "site.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=site", "-addext", "subjectAltName=IP:127.0.0.1,DNS:site.test", "-keyout", path, "-out", str(path) + ".crt"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + Path(str(path) + ".crt").read_bytes())
    return path


@pytest.mark.cluster
async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    serve: Callable[..., Any], certificate: Path
) -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate)
    server = await serve({"/down": b""}, tls=theirs)
    server.answers["/down"] = redirect_to(f"http://{SITE}:{server.port}/photo.jpg")
    url = f"https://{SITE}:{server.port}"
    limits = Limits(connect_s=0.7, total_s=10.0)
    async with fetch_of([f"{SITE}:{server.port}"], [SITE], limits=limits) as fetch:
        with pytest.raises(FetchFailed) as caught:
            await fetch.image(f"{url}/photo.jpg")
        assert (caught.value.reason, server.hits) == ("unreachable", [])
    ours = ssl.create_default_context(cafile=certificate)
    async with fetch_of([f"{SITE}:{server.port}"], [SITE], limits=limits, tls=ours) as fetch:
        assert bytes((await fetch.image(f"{url}/photo.jpg")).image) == PHOTO
        with pytest.raises(FetchFailed) as caught:
            await fetch.image(f"{url}/down")
        assert (caught.value.reason, len(server.hits)) == ("refused_url", 2)
