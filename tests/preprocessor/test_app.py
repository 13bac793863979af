"""The tier as a process: its ports, a request over the channel, its metrics, how it drains and what is left of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crema.host.channel_client import ChannelClient
from preprocessor.app import main
from preprocessor.decoder import UNPRIVILEGED_ID
from tests.preprocessor import image_files as f
from tests.preprocessor.pools import is_alive, until

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0


class Process:
    """One `python -m preprocessor` on free ports."""

    def __init__(self, *more: str) -> None:
        read, write = os.pipe()
        command = [
            sys.executable,
            "-m",
            "preprocessor",
            "--channel",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--workers",
            "1",
        ]
        command += ["--parent-pid", str(os.getpid()), "--announce-fd", str(write), *more]
        self.popen = subprocess.Popen(command, cwd=ROOT, pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as pipe:
            self.ports: dict[str, int] = json.loads(pipe.readline())

    def get(self, path: str, host: str = "localhost") -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['http']}{path}", headers={"Host": host}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.get("/readyz")[1])
        return body

    def decoders(self) -> list[int]:
        return [worker["pid"] for worker in self.health()["workers"]]

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*more: str) -> Process:
        started.append(Process(*more))
        return started[-1]

    yield begin
    for process in started:
        process.end()


async def connected(process: Process) -> ChannelClient:
    await until(lambda: process.health()["ready"], "the preprocessor is ready")
    client = ChannelClient(f"127.0.0.1:{process.ports['channel']}", "coordinator", "preprocessor")
    client.start()
    assert await client.wait_open(PATIENCE_S)
    return client


async def ask(
    client: ChannelClient, image: bytes, *specs: dict[str, Any], **more: Any
) -> tuple[dict[str, Any], bytes]:
    header = {"kind": "preprocess", "specs": list(specs) or [{"size": [224, 224]}], **more}
    async with asyncio.timeout(PATIENCE_S):
        answer, pixels = await client.call(header, image)
    return answer, bytes(pixels)


async def test_one_request_gives_the_tensors_of_three_specs_and_one_decode(
    start: Callable[..., Process],
) -> None:
    process = start()
    client = await connected(process)
    specs = [
        {"size": [32, 32], "fit": "stretch", "filter": "box"},
        {"size": [16, 8]},
        {"size": [32, 32], "fit": "contain"},
    ]
    answer, pixels = await ask(
        client, f.jpeg(), *specs, remaining_ms=5000, lane="interactive", request_id="r1"
    )
    assert answer["status"] == 200 and answer["image"]["format"] == "jpeg"
    assert [tensor["shape"] for tensor in answer["tensors"]] == [[32, 32, 3], [8, 16, 3], [32, 32, 3]]
    assert len(pixels) == 32 * 32 * 3 * 2 + 16 * 8 * 3
    first = np.frombuffer(pixels, np.uint8, 32 * 32 * 3).reshape(32, 32, 3).astype(int)
    assert np.abs(first[8, 8] - f.RED).max() < 12 and np.abs(first[24, 24] - f.YELLOW).max() < 12
    assert 'crema_preprocess_seconds_count{stage="decode"} 1.0' in process.get("/metrics")[1]
    await client.close()


async def test_health_lists_the_decoders_and_says_when_it_is_ready(start: Callable[..., Process]) -> None:
    process = start()
    assert process.get("/livez") == (200, '{"live":true}')
    await (await connected(process)).close()
    status, body = process.get("/readyz")
    told = json.loads(body)
    assert status == 200 and told["ready"] is True and told["state"] == "ready"
    assert [worker["state"] for worker in told["workers"]] == ["ready"]


def test_a_page_whose_own_name_leads_here_is_not_answered(start: Callable[..., Process]) -> None:
    process = start()
    assert process.get("/metrics")[0] == 200
    assert process.get("/metrics", "evil.example")[0] == 403


async def test_a_killed_decoder_is_back_without_help(start: Callable[..., Process]) -> None:
    process = start()
    client = await connected(process)
    (victim,) = process.decoders()
    os.kill(victim, signal.SIGKILL)

    def is_replaced() -> bool:  # by one look: between two of them the victim may go
        [worker] = process.health()["workers"] or [{"pid": victim}]
        return worker["pid"] != victim and worker["state"] == "ready"

    await until(is_replaced, "a new decoder is ready")
    assert (await ask(client, f.jpeg()))[0]["status"] == 200
    assert 'reason="died"' in process.get("/metrics")[1]
    await client.close()


async def test_a_kill_of_the_host_leaves_no_decoder(start: Callable[..., Process]) -> None:
    process = start("--workers", "2")
    await (await connected(process)).close()
    await until(lambda: len(process.decoders()) == 2, "both decoders")
    decoders = process.decoders()
    process.end()
    await until(lambda: not any(is_alive(pid) for pid in decoders), "the decoders are gone")


async def test_sigterm_finishes_what_was_let_in_and_refuses_the_rest(start: Callable[..., Process]) -> None:
    process = start()
    client = await connected(process)
    (decoder,) = process.decoders()
    slow = asyncio.create_task(ask(client, f.many_scans(7000, 7000, 200)))
    await until(lambda: process.health()["workers"][0]["state"] == "busy", "the image is being decoded")
    process.popen.send_signal(signal.SIGTERM)
    await until(lambda: process.health()["state"] == "draining", "it drains")
    refused, _ = await ask(client, f.jpeg())
    assert (refused["status"], refused["error"]["code"], refused["error"]["retryable"]) == (
        503,
        "not_ready",
        True,
    )
    assert (await slow)[0]["status"] == 200
    assert await asyncio.to_thread(process.popen.wait, PATIENCE_S) == 0
    assert not is_alive(decoder)
    await client.close()


async def test_a_full_preprocessor_says_when_to_come_back(start: Callable[..., Process]) -> None:
    process = start("--places", "1")
    client = await connected(process)
    slow = asyncio.create_task(ask(client, f.many_scans(7000, 7000, 100)))
    await until(lambda: process.health()["workers"][0]["state"] == "busy", "the only place is taken")
    refused, _ = await ask(client, f.jpeg())
    assert refused["status"] == 429 and refused["error"]["retry_after_ms"] >= 50
    assert refused["load"]["places"] == 1
    assert (await slow)[0]["status"] == 200
    await client.close()


async def test_a_photo_costs_at_most_three_page_faults_in_each_process(start: Callable[..., Process]) -> None:
    process = start()
    client = await connected(process)
    photo = f.saved(f.noisy(1600, 1200), "JPEG", quality=95)
    assert (
        len(photo) > 150_000
    )  # both the photo and its tensor are of the size that glibc would map anew each time
    for _ in range(150):  # until each process's memory has grown to what it needs
        await ask(client, photo)
    watched = [process.popen.pid, *process.decoders()]
    before = [minor_faults(pid) for pid in watched]
    for _ in range(100):
        await ask(client, photo)
    faults = [(minor_faults(pid) - then) / 100 for pid, then in zip(watched, before, strict=True)]
    assert max(faults) <= 3, faults
    await client.close()


def minor_faults(pid: int) -> int:
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[7])


def test_beyond_loopback_it_refuses_to_start_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREMA_CLUSTER_TOKEN", raising=False)
    with pytest.raises(SystemExit, match="CREMA_CLUSTER_TOKEN"):
        main(["--channel", "0.0.0.0:0"])


@pytest.mark.parametrize(
    "wrong", [["--workers", "0"], ["--workers", "many"], ["--channel", "7000"], ["--places", "-1"]]
)
def test_wrong_arguments_are_wrong_use(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(wrong)
    assert caught.value.code == 2
    assert "expected" in capsys.readouterr().err


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def test_decoders_of_root_s_are_a_user_s_who_owns_nothing_and_still_end_with_their_host(
    start: Callable[..., Process],
) -> None:
    process = start()
    client = await connected(process)
    (decoder,) = process.decoders()
    if os.geteuid() == 0:
        status = status_of(decoder)
        assert f"Uid:\t{UNPRIVILEGED_ID}\t{UNPRIVILEGED_ID}\t{UNPRIVILEGED_ID}" in status
        assert f"Gid:\t{UNPRIVILEGED_ID}\t{UNPRIVILEGED_ID}\t{UNPRIVILEGED_ID}" in status
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
    for image in (f.jpeg(), f.png(), f.saved(f.quadrants(), "WEBP"), f.saved(f.quadrants(), "GIF")):
        answer, _ = await ask(client, image)
        assert answer["status"] == 200
    await client.close()
    process.end()
    await until(lambda: not is_alive(decoder), "the decoder has ended")
