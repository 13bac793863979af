"""The process that fetches: what it is given, what it gives away, how it ends, and that it comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crema.errors import CremaError
from crema.host.channel import Buffer
from preprocessor.fetcher import UNPRIVILEGED_ID
from preprocessor.fetches import Fetches, FetchRules
from tests.preprocessor.fetch_servers import PHOTO, serving
from tests.preprocessor.pools import is_alive, until

pytestmark = pytest.mark.cluster

SITE = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def fetching(*hosts: str, private: tuple[str, ...] = (SITE,), **more: float) -> AsyncIterator[Fetches]:
    fetches = Fetches(FetchRules(hosts, private), **more)  # type: ignore[arg-type]
    fetches.start()
    try:
        yield fetches
    finally:
        await fetches.close()


async def fetch(fetches: Fetches, url: str) -> tuple[bytes, str]:
    """(the image, `ok`) or (nothing, the error's code)."""
    ended: asyncio.Future[tuple[bytes, str]] = asyncio.get_running_loop().create_future()

    def done(image: Buffer, error: CremaError | None) -> None:
        ended.set_result((bytes(image), "ok" if error is None else error.code))

    fetches.enter().begin(url, None, "r1", done)
    async with asyncio.timeout(20):
        return await ended


async def pid_of(fetches: Fetches, not_this: int = 0) -> int:
    await until(
        lambda: bool((told := fetches.health) and told["state"] == "ready" and told["pid"] != not_this),
        "the process",
    )
    assert fetches.health is not None
    return int(fetches.health["pid"])


async def test_it_fetches_from_the_hosts_and_networks_it_was_given() -> None:
    async with serving(SITE) as server, fetching(f"localhost:{server.port}") as fetches:
        assert await fetch(fetches, f"http://localhost:{server.port}/a.jpg") == (PHOTO, "ok")
        assert await fetch(fetches, f"http://{SITE}:{server.port}/a.jpg") == (b"", "url_fetch_failed")
        assert len(server.hits) == 1


async def test_without_a_private_network_this_machine_is_not_reached() -> None:
    async with serving(SITE, "::1") as inside, fetching(f"*:{inside.port}", private=()) as fetches:
        hosts = (
            "localhost",
            SITE,
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0.0.0.0",
        )
        found = await asyncio.gather(*(fetch(fetches, f"http://{host}:{inside.port}/") for host in hosts))
        assert set(found) == {(b"", "url_fetch_failed")}
        assert inside.connections == 0


async def test_it_knows_no_secret_and_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CREMA_CLUSTER_TOKEN", "AWS_SECRET_ACCESS_KEY", "HTTP_PROXY", "DATABASE_URL"):
        monkeypatch.setenv(name, "hush-hush")
    async with fetching("example.com") as fetches:
        folder = Path(f"/proc/{await pid_of(fetches)}")
        for file in ("environ", "cmdline"):
            assert b"hush" not in (folder / file).read_bytes()
        names = {
            each.partition(b"=")[0].decode()
            for each in (folder / "environ").read_bytes().split(b"\0")
            if each
        }
        assert names <= {
            "LD_LIBRARY_PATH", "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH", "LC_ALL", "MALLOC_ARENA_MAX",
            "RES_OPTIONS",
        }  # fmt: skip
        status = (folder / "status").read_text()
        if os.geteuid() == 0:
            assert f"Uid:\t{UNPRIVILEGED_ID}\t{UNPRIVILEGED_ID}" in status
            assert f"Gid:\t{UNPRIVILEGED_ID}\t{UNPRIVILEGED_ID}" in status
            assert "Groups:\t \n" in status or "Groups:\t\n" in status
        limits = (folder / "limits").read_text()
        for what in ("Max core file size", "Max file size"):
            line = next(line for line in limits.splitlines() if line.startswith(what))
            assert line.split()[-3:-1] == ["0", "0"] or line.split()[4:6] == ["0", "0"]


async def test_it_is_back_after_it_was_killed_and_what_it_had_in_hand_is_answered() -> None:
    async with serving(SITE) as server, fetching(f"{SITE}:{server.port}") as fetches:
        server.answers["/silent"] = server.silent
        pid = await pid_of(fetches)
        in_hand = asyncio.create_task(fetch(fetches, f"http://{SITE}:{server.port}/silent"))
        await until(lambda: server.connections == 1, "the request")
        os.kill(pid, signal.SIGKILL)
        assert await in_hand == (b"", "not_ready")
        assert await fetch(fetches, f"http://{SITE}:{server.port}/a.jpg") == (PHOTO, "ok")
        assert await pid_of(fetches, not_this=pid) != pid


async def test_one_that_is_stuck_is_replaced() -> None:
    async with fetching("example.com", patience_s=0.2) as fetches:
        pid = await pid_of(fetches)
        os.kill(pid, signal.SIGSTOP)
        assert await fetch(fetches, "http://example.com/") == (b"", "not_ready")
        assert await pid_of(fetches, not_this=pid) != pid
        assert not is_alive(pid)


async def test_one_that_does_not_start_is_tried_again_and_closing_answers_what_waits() -> None:
    fetches = Fetches(FetchRules(["not a host"]))
    fetches.start()
    assert await fetch(fetches, "http://example.com/") == (b"", "not_ready")
    waiting = asyncio.create_task(fetch(fetches, "http://example.com/"))
    await asyncio.sleep(0)
    await fetches.close()
    assert await waiting == (b"", "not_ready")


async def test_closing_ends_it() -> None:
    async with fetching("example.com") as fetches:
        pid = await pid_of(fetches)
    assert not is_alive(pid)


OWNER = """
import asyncio, sys
from preprocessor.fetches import Fetches, FetchRules
async def main():
    fetches = Fetches(FetchRules(["example.com"]))
    fetches.start()
    while not (fetches.health and fetches.health["state"] == "ready"):
        await asyncio.sleep(0.01)
    print(fetches.health["pid"], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_it_dies_with_its_parent() -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert owner.stdout is not None
        async with asyncio.timeout(30):
            while not (line := await owner.stdout.readline()).strip().isdigit():
                assert line
        pid = int(line)
        assert is_alive(pid)
    finally:
        owner.kill()
        await owner.wait()
    await until(lambda: not is_alive(pid), "the process is gone")


@pytest.fixture
def argument_error(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `python -m preprocessor` says of wrong arguments."""

    def ask(*arguments: str) -> str:
        from preprocessor.app import main

        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        assert caught.value.code == 2
        return capsys.readouterr().err

    return ask


@pytest.mark.parametrize(
    "wrong", [["--fetch-host", "http://x/"], ["--fetch-host", "x:0"], ["--fetch-private", "10.0.0.1/8"]]
)
def test_a_wrong_rule_is_wrong_use(argument_error: Callable[..., str], wrong: list[str]) -> None:
    assert wrong[1] in argument_error(*wrong)
