"""Stand-ins for the other tiers, on the real channel: a preprocessor and minions that answer as a test tells them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crema import wire
from crema.host.channel import Buffer, Channel
from crema.host.channel_server import ChannelServer

JPEG = b"\xff\xd8\xff\xe0" + b"jpeg" * 40
LOAD = {"pending": 0, "places": 64, "expected_wait_ms": 0.0}

Reply = dict[str, Any] | tuple[dict[str, Any], bytes] | None
Behaviour = Callable[[dict[str, Any], Buffer], Reply]


def error(status: int, code: str, message: str = "said the stub", **more: Any) -> dict[str, Any]:
    """A refusal as a tier sends it."""
    return {
        "status": status,
        "error": {"code": code, "message": message, "retryable": status in (429, 503), **more},
    }


def ok(output: Any, **more: Any) -> dict[str, Any]:
    """An answer with one outcome."""
    timing = {"queue_ms": 1.04, "inference_ms": 12.26, "batch_size": 2}
    return {"status": 200, "outcomes": [{"ok": output}], "timing": timing, "load": LOAD, **more}


class StubTier:
    """A channel server. Every request is kept in `requests`; `behaviour` gives the answer, None keeps silent."""

    kind = ""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[tuple[dict[str, Any], bytes]] = []
        self.cancelled: list[int] = []
        self.changed = asyncio.Event()
        self.delay_s = 0.0
        self.address = ""
        self._server: ChannelServer | None = None

    async def start(self, port: int = 0) -> None:
        role: Any = "preprocessor" if self.kind == "preprocess" else "minion"
        self._server = ChannelServer(self, role, frozenset({"coordinator"}))
        self.address = f"127.0.0.1:{await self._server.start('127.0.0.1', port)}"

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds after something arrived here."""
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def fill(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer

    def channel_opened(self, channel: Channel) -> None:
        pass

    def channel_closed(self, channel: Channel, error: Exception | None) -> None:
        self.changed.set()

    def header_received(self, channel: Channel, header: dict[str, Any], payload_bytes: int) -> bool:
        return True

    def frame_received(self, channel: Channel, header: dict[str, Any], payload: Buffer) -> None:
        if header["kind"] == "cancel":
            self.cancelled.append(header["id"])
        else:
            assert header["kind"] == self.kind
            self.requests.append((header, bytes(payload)))
            reply = self.behaviour(header, payload)
            if reply is not None:
                asyncio.get_running_loop().call_later(
                    self.delay_s, self._answer, channel, header["id"], reply
                )
        self.changed.set()

    def _answer(self, channel: Channel, request_id: int, reply: Any) -> None:
        answer, body = reply if isinstance(reply, tuple) else (reply, b"")
        if channel.is_open and request_id not in self.cancelled:
            head = {"v": wire.WIRE_VERSION, "kind": "answer", "id": request_id}
            channel.send({**head, **self.fill(answer)}, body)


class StubPreprocessor(StubTier):
    """Answers with one tensor per spec, filled with the number of the spec."""

    kind = "preprocess"

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        super().__init__(behaviour or self.prepare)

    def prepare(self, header: dict[str, Any], payload: Buffer) -> Reply:
        tensors = [{"shape": [*reversed(spec["size"]), 3], "dtype": "uint8"} for spec in header["specs"]]
        body = b"".join(
            bytes([index + 1]) * (each["shape"][0] * each["shape"][1] * 3)
            for index, each in enumerate(tensors)
        )
        image = {"format": "jpeg", "width": 64, "height": 48, "bytes": len(payload)}
        answer = {
            "status": 200,
            "image": image,
            "tensors": tensors,
            "timing": {"queue_ms": 0, "decode_ms": 2},
            "load": LOAD,
        }
        return answer, body


class StubMinion(StubTier):
    """One model version."""

    kind = "infer"

    def __init__(self, model: str, version: str, behaviour: Behaviour) -> None:
        super().__init__(behaviour)
        self.model = model
        self.version = version

    def fill(self, answer: dict[str, Any]) -> dict[str, Any]:
        return {"model": self.model, "version": self.version, **answer}


def card(
    model: str, version: str, *, size: tuple[int, int] = (4, 2), output: str = "json", **more: Any
) -> dict[str, Any]:
    """A manifest's card, as far as the coordinator reads it."""
    return {
        "name": model,
        "version": version,
        "summary": f"{model} for tests",
        "input": {"kind": "image", "size": list(size), "fit": "cover", "filter": "bilinear"},
        "output": {"type": output},
        "params": {},
        "slo": {"p99_ms": 500},
        **more,
    }


def version_row(replicas: list[str], card: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One version of the routing file."""
    wanted = more.pop("wanted", max(1, len(replicas)))
    return {
        "replicas": replicas,
        "wanted": wanted,
        "state": "ready",
        "problem": None,
        "canary_percent": None,
        "card": card,
        **more,
    }


def model_row(default: str, versions: dict[str, Any], labels: dict[str, str] | None = None) -> dict[str, Any]:
    """One model of the routing file."""
    return {"default": default, "labels": labels or {}, "versions": versions}


def write_routing(
    path: Path, models: dict[str, Any], preprocessors: list[str], defaults: list[str], revision: int = 1
) -> None:
    """Write a routing file as the supervisor does: whole, then renamed into place."""
    aside = path.with_suffix(".new")
    body = {
        "format": 1,
        "revision": revision,
        "default_models": defaults,
        "preprocessors": preprocessors,
        "models": models,
    }
    aside.write_text(json.dumps(body))
    aside.replace(path)
