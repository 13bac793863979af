"""Photos: image bytes made into a model's input by the cluster's own preprocessor, started here as a process.

It starts with the first photo and ends with `close`; nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from types import TracebackType
from typing import Any, Final

import numpy as np

from check.surroundings import own_root
from crema.host.channel_client import ChannelClient
from crema.host.channel_lost import ChannelLost
from crema.host.manifest_parts import ImageInput
from crema.host.tier import TOKEN_VARIABLE

_LOOPBACK: Final = "127.0.0.1"
_READY_S: Final = 30.0
_DECODE_S: Final = 20.0
_END_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.05


class PhotoRefused(Exception):
    """A photo could not be made into the model's input; the text says why."""


class Photos:
    """Decodes photos, one at a time. Not to be used where an event loop runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._runner: asyncio.Runner | None = None
        self._client: ChannelClient | None = None

    def __enter__(self) -> Photos:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decode(self, photo: bytes, spec: ImageInput) -> np.ndarray[Any, Any]:
        """uint8 [height, width, channels]. Raises PhotoRefused."""
        if self._runner is None:
            self._start()
        assert self._runner is not None
        return self._runner.run(self._ask(photo, spec))

    def close(self) -> None:
        """Ends the preprocessor."""
        if self._runner is not None:
            if self._client is not None:
                self._runner.run(self._client.close())
                self._client = None
            self._runner.close()
            self._runner = None
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    async def _ask(self, photo: bytes, spec: ImageInput) -> np.ndarray[Any, Any]:
        assert self._client is not None
        request = {
            "kind": "preprocess",
            "request_id": "check",
            "remaining_ms": int(_DECODE_S * 1000),
            "lane": "interactive",
            "specs": [spec.spec],
        }
        try:
            async with asyncio.timeout(_DECODE_S):
                answer, payload = await self._client.call(request, photo)
        except TimeoutError:
            raise PhotoRefused(f"the preprocessor did not answer within {_DECODE_S:g} s") from None
        except ChannelLost as error:
            raise PhotoRefused(f"the preprocessor is gone: {error}") from None
        if answer.get("status") != 200:
            said = answer.get("error")
            raise PhotoRefused(str(said.get("message") if isinstance(said, dict) else said))
        (tensor,) = answer["tensors"]
        return np.frombuffer(payload, tensor["dtype"]).reshape(tensor["shape"])

    def _start(self) -> None:
        announced, fd = os.pipe()
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        with os.fdopen(announced) as pipe:
            try:
                self._process = subprocess.Popen(
                    [
                        sys.executable, "-m", "preprocessor", "--log-level", "error",
                        "--channel", f"{_LOOPBACK}:0", "--http", f"{_LOOPBACK}:0", "--workers", "1",
                        "--parent-pid", str(os.getpid()), "--announce-fd", str(fd),
                    ],
                    cwd=own_root(), env=environment, pass_fds=(fd,),
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            finally:
                os.close(fd)
            line = pipe.readline()
        if not line:
            raise PhotoRefused(
                "the preprocessor did not start; it needs the extra `local`: pip install 'crema[local]'"
            )
        ports = json.loads(line)
        self._until_ready(ports["http"])
        self._runner = asyncio.Runner()
        self._runner.run(self._connect(f"{_LOOPBACK}:{ports['channel']}"))

    async def _connect(self, address: str) -> None:
        token = os.environ.get(TOKEN_VARIABLE) or None
        self._client = ChannelClient(address, "coordinator", "preprocessor", token=token)
        self._client.start()
        if not await self._client.wait_open(_READY_S):
            raise PhotoRefused(f"the preprocessor takes no connections: {self._client.last_error}")

    def _until_ready(self, http: int) -> None:
        assert self._process is not None
        give_up_at = time.monotonic() + _READY_S
        while not _is_ready(http):
            if self._process.poll() is not None or time.monotonic() >= give_up_at:
                raise PhotoRefused(f"the preprocessor was not ready within {_READY_S:g} s")
            time.sleep(_LOOK_AGAIN_S)


def _is_ready(http: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{_LOOPBACK}:{http}/readyz", timeout=1.0):
            return True
    except OSError:
        return False
