"""Fetch: an image by its URL, over HTTP, for strangers. What may be asked for is decided for every hop anew.

Redirects are followed by hand; there are no cookies, no credentials and no proxies. Whatever cannot be asked for and
whatever cannot be reached look alike from outside: the same error, after the same time. Runs in a process that
holds nothing worth stealing (`preprocessor.fetcher`); it writes no log, because URLs may be secrets.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Self

import aiohttp
from aiohttp.abc import AbstractResolver

from crema import __version__
from crema.errors import CremaError
from crema.host.fetch_hosts import HostRule
from crema.names import OptionalFormat
from preprocessor.fetch_addresses import Addresses, AddressRefused
from preprocessor.fetch_target import FetchTarget, TargetRefused, parse_target
from preprocessor.header import check_bytes, read_header

MAX_REDIRECTS: Final = 3
TOTAL_S: Final = 5.0
# The format is judged by these first bytes, before the rest is waited for.
HEAD_BYTES: Final = 64

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "User-Agent": f"crema/{__version__}",
    "Accept": "image/jpeg, image/png, image/webp, image/gif",
    "Accept-Encoding": "identity",
}
# TLS that cannot be agreed on is among the first; the last is a name that cannot be looked up
_NOT_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, UnicodeError)
_INSTEAD: Final = "check the URL, or send the image itself"
NOT_REACHED: Final = (
    "the image could not be fetched: its address is not allowed here, cannot be reached, or did not send the image"
    f" within {TOTAL_S:g} s; {_INSTEAD}"
)
"""One text for all that must not be told apart: a stranger learns nothing of our network from it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one fetch may take. `connect_s` is per hop: name look-up, connection and TLS; `total_s` is for everything."""

    connect_s: float = 1.0
    total_s: float = TOTAL_S


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image's bytes, and the host that sent them after so many redirects."""

    image: bytearray
    host: str
    redirects: int


class FetchFailed(Exception):
    """A fetch without an image: `error` is for the caller, `reason` and `host` are for the log.

    `reason`: refused_url, refused_host, refused_address, unreachable, slow, status, redirects, encoding, empty,
    too_large, type or broken. `host` is the last one asked for, "" when the URL has none that can be read.
    """

    def __init__(self, error: CremaError, reason: str, host: str = "", detail: str = "") -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason
        self.host = host
        self.detail = detail


class _Trail:
    """How far a fetch has come, for what is said of its end."""

    __slots__ = ("host", "redirects")

    def __init__(self) -> None:
        self.host = ""
        self.redirects = 0

    def fail(self, reason: str, what: str, *, detail: str = "") -> NoReturn:
        message = f"the image could not be fetched: {what}; {_INSTEAD}"
        raise FetchFailed(CremaError("url_fetch_failed", message), reason, self.host, detail) from None

    def not_reached(self, reason: str, detail: str = "") -> FetchFailed:
        return FetchFailed(CremaError("url_fetch_failed", NOT_REACHED), reason, self.host, detail)


class Fetch:
    """Fetches images from `hosts` at `addresses`. `async with` opens and closes it; `image` may run many times at once."""

    def __init__(
        self,
        hosts: Sequence[HostRule],
        addresses: Addresses,
        *,
        limits: Limits = Limits(),
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
        formats: Sequence[OptionalFormat] = (),
    ) -> None:
        self._hosts = tuple(hosts)
        self._addresses = addresses
        self._limits = limits
        self._formats = formats
        self._resolver = resolver
        self._tls = tls or ssl.create_default_context()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            socket_factory=self._addresses.open_socket,
            resolver=self._resolver or aiohttp.ThreadedResolver(),
            use_dns_cache=False,
            # no connection is used twice: each one's address is judged for the fetch that it is made for
            force_close=True,
            limit=0,
            ssl=self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._limits.connect_s),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def image(self, url: str) -> Fetched:
        """The image at `url`. Raises FetchFailed."""
        trail = _Trail()
        try:
            async with asyncio.timeout(self._limits.total_s):
                return await self._follow(url, trail)
        except TimeoutError:
            raise trail.not_reached("slow") from None

    async def _follow(self, url: str, trail: _Trail) -> Fetched:
        loop = asyncio.get_running_loop()
        target: FetchTarget | None = None
        location = url
        while True:
            hop_ends = loop.time() + self._limits.connect_s
            try:
                target = (
                    parse_target(location, self._hosts)
                    if target is None
                    else target.after(location, self._hosts)
                )
                trail.host = target.host
                response = await self._ask(target, trail)
            except TargetRefused as refused:
                trail.host = refused.host
                failed = trail.not_reached(refused.reason)
            except aiohttp.InvalidURL as error:  # the client reads hosts more strictly than we do: `127.1`
                failed = trail.not_reached("refused_url", type(error).__name__)
            except _NOT_CONNECTED as error:
                is_refused = isinstance(error.__cause__, AddressRefused)
                failed = trail.not_reached(
                    "refused_address" if is_refused else "unreachable", type(error).__name__
                )
            else:
                async with response:
                    if response.status not in _REDIRECTS:
                        return Fetched(await self._read(response, trail), trail.host, trail.redirects)
                    location = response.headers.get("Location", "")
                if trail.redirects == MAX_REDIRECTS:
                    trail.fail("redirects", f"it is redirected more than {MAX_REDIRECTS} times")
                trail.redirects += 1
                continue
            # refused at once, refused by the other side and not answered at all take equally long
            await asyncio.sleep(hop_ends - loop.time())
            raise failed

    async def _ask(self, target: FetchTarget, trail: _Trail) -> aiohttp.ClientResponse:
        assert self._session is not None
        try:
            return await self._session.get(target.url, allow_redirects=False)
        except (aiohttp.InvalidURL, *_NOT_CONNECTED):
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            trail.fail("broken", "the server did not answer in HTTP", detail=type(error).__name__)

    async def _read(self, response: aiohttp.ClientResponse, trail: _Trail) -> bytearray:
        if response.status != 200:
            trail.fail(
                "status",
                f"the server answered with status {response.status} instead of an image",
                detail=str(response.status),
            )
        if any(
            each.strip().lower() != "identity" for each in response.headers.getall("Content-Encoding", ())
        ):
            trail.fail("encoding", "the server sends it compressed (Content-Encoding)")
        image = bytearray()
        try:
            _check_size(response.content_length or 0, trail)
            is_judged = False
            async for chunk in response.content.iter_any():
                image += chunk
                _check_size(len(image), trail)
                if not is_judged and len(image) >= HEAD_BYTES:
                    self._check_format(image, trail)
                    is_judged = True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            trail.fail("broken", "the server's answer broke off", detail=type(error).__name__)
        if not image:
            trail.fail("empty", "the server's answer is empty")
        self._check_format(image, trail)
        return image

    def _check_format(self, image: bytearray, trail: _Trail) -> None:
        """Refuses what its first bytes show to be no image that is taken; the rest of it is judged where it is decoded."""
        try:
            read_header(bytes(image[:HEAD_BYTES]), self._formats)
        except CremaError as error:
            if error.code == "unsupported_media_type":
                raise FetchFailed(error, "type", trail.host) from None


def _check_size(size: int, trail: _Trail) -> None:
    try:
        check_bytes(size)
    except CremaError as error:
        raise FetchFailed(error, "too_large", trail.host) from None
