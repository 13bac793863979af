"""A real minion whose model dies, does not load, or whose own life ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.running_minion import ROOT, TOYS, RunningMinion, eventually, is_running, running_minion


async def test_the_batch_of_a_killed_worker_is_answered_at_once_and_a_new_worker_serves() -> None:
    async with running_minion("dying") as minion:
        running = asyncio.ensure_future(minion.infer(253))
        await minion.until("busy")
        waiting = asyncio.ensure_future(minion.infer(7, remaining_ms=20_000))
        await eventually(lambda: has_pending(minion, 2))
        os.kill(await minion.worker_pid(), signal.SIGKILL)
        header, outcomes = await asyncio.wait_for(running, 1.0)
        assert header["status"] == 200
        assert outcomes[0]["error"]["code"] == "not_ready"
        assert outcomes[0]["error"]["retryable"] is True
        assert outcomes[0]["error"]["retry_after_ms"] >= 1
        # what waited is served by the next worker
        assert (await asyncio.wait_for(waiting, 20))[1] == [{"ok": 7}]
        body = await minion.until("ready")
        assert body["restarts"] == 1
        assert body["problem"] is None
        assert await minion.metric("crema_worker_restarts_total", reason="crashed") == 1


async def has_pending(minion: RunningMinion, places: int) -> bool:
    return await minion.metric("crema_pending") == places


async def test_while_the_worker_is_replaced_requests_are_not_ready_and_the_reason_is_visible() -> None:
    async with running_minion("dying") as minion:
        _, outcomes = await minion.infer(255)
        assert outcomes[0]["error"]["code"] == "not_ready"
        header, _ = await minion.infer(1)
        assert (header["status"], header["error"]["code"]) == (503, "not_ready")
        assert header["error"]["retry_after_ms"] >= 1
        status, body = await minion.readiness()
        if body["state"] == "starting":
            assert status == 503
            assert body["problem"].startswith("the worker died: it exited with status 3")
        await minion.until("ready")
        assert (await minion.infer(1))[1] == [{"ok": 1}]


async def test_a_segmentation_fault_is_told_with_where_it_happened() -> None:
    async with running_minion("dying") as minion:
        await minion.infer(254)
        await minion.until("ready")
        lost = next(event for event in minion.log if event["event"] == "worker_lost")
        assert lost["problem"].startswith("the worker died: it was killed by SIGSEGV")
        assert "in predict" in lost["problem"]


async def test_a_model_that_does_not_load_stays_visible_with_its_own_traceback() -> None:
    async with running_minion("unloadable", state="failed") as minion:
        status, body = await minion.readiness()
        assert status == 503
        first_line, _, rest = body["problem"].partition("\n")
        assert first_line == "load: FileNotFoundError: weights/nowhere.safetensors is not in the package"
        assert "in load" in rest
        header, _ = await minion.infer(1)
        assert (header["status"], header["error"]["code"]) == (503, "not_ready")
        async with minion.http.post("/v1/infer", data=b"{}") as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
        assert await minion.metric("crema_ready") == 0
        assert await minion.metric("crema_worker_restarts_total", reason="load_failed") >= 1


async def test_a_model_that_takes_too_long_to_load_is_stopped_and_tried_again() -> None:
    async with running_minion("slow_loading", state="failed") as minion:
        _, body = await minion.readiness()
        assert body["problem"].startswith("the model did not load within 0.5 s")
        assert await minion.metric("crema_worker_restarts_total", reason="load_timeout") >= 1


async def test_an_interpreter_that_is_not_there_is_a_problem_and_not_an_end() -> None:
    async with running_minion("echo", "--python", "/nowhere/python", state="failed") as minion:
        assert "could not be started" in (await minion.readiness())[1]["problem"]


async def test_a_drain_finishes_what_was_admitted_refuses_the_rest_and_ends_with_zero() -> None:
    async with running_minion("sleepy") as minion:
        running = asyncio.ensure_future(minion.infer(255))
        await minion.until("busy")
        waiting = asyncio.ensure_future(minion.infer(*range(16)))
        await eventually(lambda: has_pending(minion, 17))
        worker = await minion.worker_pid()
        minion.terminate()
        body = await minion.until("draining")
        assert body["ready"] is False
        header, _ = await minion.infer(1)
        assert (header["status"], header["error"]["code"]) == (503, "not_ready")
        assert (await running)[1] == [{"ok": 255}]
        assert (await waiting)[1] == [{"ok": number} for number in range(16)]
        assert await minion.ended() == 0
        assert not is_running(worker)


async def test_a_second_signal_ends_it_at_once_and_the_worker_with_it() -> None:
    async with running_minion("sleepy") as minion:
        running = asyncio.ensure_future(minion.infer(255))
        await minion.until("busy")
        worker = await minion.worker_pid()
        minion.terminate()
        await minion.until("draining")
        minion.terminate()
        assert await minion.ended() == 1
        await eventually(lambda: is_gone(worker))
        await asyncio.gather(running, return_exceptions=True)


async def is_gone(pid: int) -> bool:
    return not is_running(pid)


async def test_no_worker_is_left_after_its_host_was_killed() -> None:
    async with running_minion("interpreter_hog") as minion:
        running = asyncio.ensure_future(minion.infer(1))
        await minion.until("busy")
        worker = await minion.worker_pid()
        minion.process.kill()
        await minion.ended()
        await eventually(lambda: is_gone(worker))
        await asyncio.gather(running, return_exceptions=True)


async def test_a_minion_ends_with_the_process_that_started_it() -> None:
    """The parent is killed; the minion, told its pid, drains at once."""
    script = (
        "import os, subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-m', 'minion', '--package', {str(TOYS / 'echo' / '1.0')!r}, '--python',"
        " sys.executable, '--channel', '127.0.0.1:0', '--http', '127.0.0.1:0', '--parent-pid', str(os.getpid())])\n"
        "print(p.pid, flush=True); time.sleep(600)\n"
    )
    parent = start_script(script)
    try:
        assert parent.stdout is not None
        minion = int(await asyncio.to_thread(parent.stdout.readline))
    finally:
        parent.kill()
        parent.wait()
    parent.stdout.close()
    await eventually(lambda: is_gone(minion))


def test_a_package_that_is_not_valid_ends_the_start_with_every_mistake(tmp_path: Path) -> None:
    package = tmp_path / "toy" / "1.0"
    package.mkdir(parents=True)
    (package / "model.yaml").write_text('crema: 1\nname: other\nversion: "1.0"\n')
    ended = start(package)
    assert ended.returncode == 1
    assert "model.yaml:2:1: name" in ended.stderr


def test_a_channel_beyond_loopback_needs_a_token() -> None:
    ended = start(TOYS / "echo" / "1.0", channel="0.0.0.0:0")
    assert ended.returncode == 1
    assert "refusing to listen on 0.0.0.0:0" in ended.stderr


def start(package: Path, channel: str = "127.0.0.1:0") -> subprocess.CompletedProcess[str]:
    """A start that ends by itself."""
    return subprocess.run(
        [
            sys.executable, "-m", "minion", "--package", str(package), "--python", sys.executable,
            "--channel", channel, "--http", "127.0.0.1:0",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={key: value for key, value in os.environ.items() if key != "CREMA_CLUSTER_TOKEN"},
    )  # fmt: skip


def start_script(script: str) -> subprocess.Popen[bytes]:
    """A Python process that runs `script`; what it prints is read from its pipe."""
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


DAEMON = """
import subprocess

class Echo:
    def load(self, ctx):
        self.helper = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)

    def predict(self, batch, params):
        return [self.helper.pid for _ in batch]
"""


async def test_what_a_model_left_running_in_a_session_of_its_own_ends_with_its_worker(tmp_path: Path) -> None:
    toy = tmp_path / "echo"
    shutil.copytree(TOYS / "echo", toy)
    (toy / "1.0" / "model.py").write_text(DAEMON)
    async with running_minion(str(toy)) as minion:
        pid = (await minion.infer(1))[1][0]["ok"]
        assert is_running(pid)
        os.kill(await minion.worker_pid(), signal.SIGKILL)

        async def is_gone() -> bool:
            return not is_running(pid)

        await eventually(is_gone)
