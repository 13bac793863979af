"""Warm-up tensors, made by a preprocessor that speaks the channel and does not decode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crema import wire
from crema.host.channel import Buffer, Channel
from crema.host.channel_server import ChannelServer
from crema.host.manifest import Manifest, load_manifest
from deploy.warmup import WarmupFailed, warmup_file
from tests.cluster.toy_packages import write_package as write_image_package
from tests.deploy.toy_cluster import write_package


class FakePreprocessor:
    """Answers each request with a tensor of ones, or with `error`."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.error: dict[str, Any] | None = None
        self.address = ""

    async def __call__(self) -> str:
        return self.address

    def channel_opened(self, channel: Channel) -> None:
        pass

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        pass

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        return True

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        self.requests.append(header)
        answer = {"v": wire.WIRE_VERSION, "kind": "answer", "id": header["id"]}
        if self.error is not None:
            channel.send({**answer, "status": 422, "error": self.error})
            return
        width, height = header["specs"][0]["size"]
        tensor = np.ones((height, width, 3), np.uint8)
        tensors = [{"shape": list(tensor.shape), "dtype": "uint8"}]
        channel.send({**answer, "status": 200, "tensors": tensors}, tensor.tobytes())


@pytest.fixture
async def preprocessor() -> AsyncIterator[FakePreprocessor]:
    fake = FakePreprocessor()
    server = ChannelServer(fake, "preprocessor", frozenset({"coordinator"}))
    fake.address = f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
    yield fake
    await server.close()


@pytest.fixture
def image_model(tmp_path: Path) -> Manifest:
    return load_manifest(write_image_package(tmp_path / "model_packages", "bright"))


async def nobody() -> str:
    raise AssertionError("nobody needs to be asked")


async def test_an_images_tensor_comes_from_the_preprocessor(
    preprocessor: FakePreprocessor, image_model: Manifest, tmp_path: Path
) -> None:
    path = await warmup_file(image_model, tmp_path, preprocessor)
    items = np.load(path)["items"]
    assert (items.shape, items.dtype, items.min()) == ((1, 16, 16, 3), np.uint8, 1)
    assert preprocessor.requests[0]["specs"] == [{"size": [16, 16], "fit": "cover", "filter": "bilinear"}]


async def test_tensors_are_made_once_per_package(
    preprocessor: FakePreprocessor, image_model: Manifest, tmp_path: Path
) -> None:
    first = await warmup_file(image_model, tmp_path, preprocessor)
    assert await warmup_file(image_model, tmp_path, nobody) == first
    assert len(preprocessor.requests) == 1


async def test_a_changed_package_gets_new_tensors(
    preprocessor: FakePreprocessor, image_model: Manifest, tmp_path: Path
) -> None:
    first = await warmup_file(image_model, tmp_path, preprocessor)
    (image_model.package_dir / "CHANGES.md").write_text("changed")
    assert await warmup_file(image_model, tmp_path, preprocessor) != first


async def test_a_tensor_models_examples_need_no_preprocessor(tmp_path: Path) -> None:
    write_package(tmp_path, "toy")
    path = await warmup_file(load_manifest(tmp_path / "model_packages" / "toy" / "1.0"), tmp_path, nobody)
    assert np.load(path)["items"].tolist() == [[0, 1, 2, 3]]


async def test_a_refused_example_is_a_failure_with_its_reason_and_leaves_nothing(
    preprocessor: FakePreprocessor, image_model: Manifest, tmp_path: Path
) -> None:
    preprocessor.error = {"code": "undecodable_image", "message": "not a photo", "retryable": False}
    with pytest.raises(WarmupFailed, match=r"gray\.png: not a photo"):
        await warmup_file(image_model, tmp_path, preprocessor)
    left = await asyncio.to_thread(lambda: [*tmp_path.glob("*.npz*")])
    assert left == []


async def test_a_preprocessor_that_is_gone_is_a_failure(
    image_model: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone() -> str:
        return "127.0.0.1:1"

    monkeypatch.setattr("deploy.warmup.CONNECT_TIMEOUT_S", 0.1)
    with pytest.raises(WarmupFailed, match="does not take connections"):
        await warmup_file(image_model, tmp_path, gone)
