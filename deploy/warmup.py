"""Warm-up tensors: a package's examples as its minions will see real photos, made by the cluster's own preprocessor.

They are kept per package digest. Without them a minion warms up on zeros, so a failure here is a warning and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from crema.host.channel_client import ChannelClient
from crema.host.channel_lost import ChannelLost
from crema.host.manifest import Manifest
from crema.host.manifest_parts import ImageInput
from crema.wire import DTYPES
from deploy.tiers import cluster_token

CONNECT_TIMEOUT_S: Final = 5.0
DECODE_TIMEOUT_S: Final = 20.0


class WarmupFailed(Exception):
    """An example could not be made into a tensor; the text says which and why."""


async def warmup_file(manifest: Manifest, folder: Path, preprocessor: Callable[[], Awaitable[str]]) -> Path:
    """The .npz for `--warmup`: one array `items`, [n, *shape] of the input's dtype, n examples in the manifest's order.

    Made once per package digest. `preprocessor` waits for one that is ready and gives its channel; it is called only
    when the file is not there yet. Raises WarmupFailed.
    """
    try:
        digest = await asyncio.to_thread(lambda: manifest.digest)
        path = folder / f"{digest}.npz"
        if not path.exists():
            spec = manifest.input
            items = (
                await _decoded(manifest, spec, await preprocessor())
                if isinstance(spec, ImageInput)
                else _loaded(manifest)
            )
            await asyncio.to_thread(_save, path, np.stack(items))
    except (OSError, ValueError, ChannelLost) as error:
        raise WarmupFailed(str(error)) from error
    return path


def _loaded(manifest: Manifest) -> list[np.ndarray[Any, Any]]:
    paths = [manifest.path(example.tensor) for example in manifest.examples if example.tensor is not None]
    return [np.load(path, allow_pickle=False) for path in paths]


async def _decoded(manifest: Manifest, spec: ImageInput, preprocessor: str) -> list[np.ndarray[Any, Any]]:
    client = ChannelClient(preprocessor, "coordinator", "preprocessor", token=cluster_token())
    client.start()
    try:
        if not await client.wait_open(CONNECT_TIMEOUT_S):
            raise WarmupFailed(
                f"the preprocessor on {preprocessor} does not take connections: {client.last_error}"
            )
        return [
            await _decode(client, manifest, example.image, spec)
            for example in manifest.examples
            if example.image
        ]
    finally:
        await client.close()


async def _decode(
    client: ChannelClient, manifest: Manifest, image: str, spec: ImageInput
) -> np.ndarray[Any, Any]:
    body = await asyncio.to_thread(manifest.path(image).read_bytes)
    request = {
        "kind": "preprocess",
        "request_id": f"warmup-{manifest.name}-{manifest.version}",
        "remaining_ms": int(DECODE_TIMEOUT_S * 1000),
        "lane": "interactive",
        "specs": [spec.spec],
    }
    try:
        async with asyncio.timeout(DECODE_TIMEOUT_S):
            answer, payload = await client.call(request, body)
    except TimeoutError:
        raise WarmupFailed(
            f"{image}: the preprocessor did not answer within {DECODE_TIMEOUT_S:.0f} s"
        ) from None
    if answer.get("status") != 200:
        error = answer.get("error")
        raise WarmupFailed(f"{image}: {error.get('message') if isinstance(error, dict) else error}")
    tensors = answer.get("tensors")
    if not isinstance(tensors, list) or len(tensors) != 1 or tensors[0].get("dtype") not in DTYPES:
        raise WarmupFailed(f"{image}: the preprocessor's answer does not hold one tensor")
    return np.frombuffer(payload, tensors[0]["dtype"]).reshape(tensors[0]["shape"])


def _save(path: Path, items: np.ndarray[Any, Any]) -> None:
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            np.savez(file, items=items)
        new.replace(path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
