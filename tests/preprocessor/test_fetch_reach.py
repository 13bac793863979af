"""What a fetch may not reach: this machine by any spelling, other ports, names that change their mind; and that all of it looks alike."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crema.host.fetch_hosts import parse_network
from preprocessor.fetch import NOT_REACHED, FetchFailed, Limits
from preprocessor.fetch_addresses import Addresses
from tests.preprocessor.fetch_rig import (
    INSIDE,
    SITE,
    Names,
    fetch_of,
    outcomes,
    web_servers,
)
from tests.preprocessor.fetch_servers import (
    WebServer,
    redirect_to,
    serving,
)
from tests.preprocessor.loopback_spellings import other_schemes, urls


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    async with web_servers() as start:
        yield start


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
