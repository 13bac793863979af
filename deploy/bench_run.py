"""BenchRun: what `crema bench` starts: a preprocessor for the examples, and the process that measures. One after the
other, each ended by its own pid; nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from crema.host.config import Ports
from crema.host.manifest import Manifest
from deploy.child import Command
from deploy.tiers import LOOPBACK, Surroundings, preprocessor_command
from deploy.warmup import WarmupFailed, warmup_file

_READY_S: Final = 20.0
_LOOK_AGAIN_S: Final = 0.05
_END_S: Final = 5.0


class BenchFailed(Exception):
    """Nothing was measured; the text says why."""


def example_tensors(manifest: Manifest, folder: Path) -> Path:
    """The examples as tensors, in `folder`, made by a preprocessor of our own when they are not there yet.

    Raises WarmupFailed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:

        async def preprocessor() -> str:
            process, ports = _start_preprocessor()
            stack.callback(_end, process)
            await _until_ready(process, ports["http"])
            return f"{LOOPBACK}:{ports['channel']}"

        return asyncio.run(warmup_file(manifest, folder, preprocessor))


def measurements(command: Command) -> Iterator[dict[str, Any]]:
    """Run the process that measures and yield its lines (see minion.bench) but `failed`. Raises BenchFailed."""
    # what goes wrong there is told in a line of its own; the rest of what it says is for when there was none
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [*command.argv, "--parent-pid", str(os.getpid())],
            cwd=command.cwd, env=command.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                if "failed" in event:
                    raise BenchFailed(event["failed"]["problem"])
                yield event
            if process.wait() != 0:
                errors.seek(0)
                said = "\n".join(errors.read().splitlines()[-8:])
                raise BenchFailed(f"measuring ended with status {process.returncode}\n{said}".rstrip())
        finally:
            _end(process)


def _start_preprocessor() -> tuple[subprocess.Popen[bytes], dict[str, int]]:
    """Started, with its ports. Raises WarmupFailed."""
    command = preprocessor_command(Ports(), 0, 1, Surroundings("error", Path(tempfile.gettempdir())))
    announced, fd = os.pipe()
    with os.fdopen(announced) as pipe:
        try:
            process = subprocess.Popen(
                [*command.argv, "--parent-pid", str(os.getpid()), "--announce-fd", str(fd)],
                cwd=command.cwd, env=command.env, pass_fds=(fd,),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        finally:
            os.close(fd)
        line = pipe.readline()
    if not line:
        _end(process)
        raise WarmupFailed(f"the preprocessor ended with status {process.returncode}")
    return process, json.loads(line)


async def _until_ready(process: subprocess.Popen[bytes], http: int) -> None:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _READY_S
    while not await asyncio.to_thread(_is_ready, http):
        if process.poll() is not None or loop.time() >= give_up_at:
            raise WarmupFailed(f"the preprocessor was not ready within {_READY_S:g} s")
        await asyncio.sleep(_LOOK_AGAIN_S)


def _is_ready(http: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{http}/readyz", timeout=1.0):
            return True
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Gone when this returns. What was asked to end by a Ctrl-C of the terminal gets a moment to do so."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
