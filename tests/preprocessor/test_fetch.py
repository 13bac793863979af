"""One fetch against real servers on loopback: what is fetched, what is no photo, TLS, and what a caller is told."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from crema.host.image_limits import MAX_IMAGE_BYTES
from preprocessor.fetch import NOT_REACHED, FetchFailed, Limits
from tests.preprocessor.fetch_rig import (
    SITE,
    failure,
    fetch_of,
    fetched,
    web_servers,
)
from tests.preprocessor.fetch_servers import (
    PHOTO,
    answer,
    redirect_to,
)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    async with web_servers() as start:
        yield start


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
