"""A real minion whose host and workers share the memory that large pixels are received into."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from benchmarks.wide_package import ITEM_BYTES, SHAPE, write_wide_package
from crema.lender import PROBATION
from tests.cluster.running_minion import RunningMinion, eventually, running_minion

ITEM = {"shape": SHAPE, "dtype": "uint8"}


@pytest.fixture
async def minion(tmp_path: Path) -> AsyncIterator[RunningMinion]:
    # a path from the root replaces the toys' folder
    package = write_wide_package(tmp_path)
    card = package / "model.yaml"
    card.write_text(card.read_text() + "gate: {max_pending: 6}\nworkers: 2\n")
    async with running_minion(str(package.parent)) as running:
        await eventually(lambda: both_are_ready(running))
        yield running


async def both_are_ready(minion: RunningMinion) -> bool:
    """Whether both workers wait for batches."""
    _, body = await minion.readiness()
    return [each["state"] for each in body["workers"]] == ["ready", "ready"]


def pixels(*first_bytes: int) -> bytes:
    """An item for each of these, which begins with it."""
    return b"".join(bytes([first]) + bytes(ITEM_BYTES - 1) for first in first_bytes)


async def by_channel(minion: RunningMinion, *first_bytes: int) -> list[Any]:
    """Their outcomes."""
    header, _ = await minion.channel.call(
        {"kind": "infer", "items": [ITEM] * len(first_bytes)}, pixels(*first_bytes)
    )
    return list(header.get("outcomes") or [header])


async def by_door(minion: RunningMinion, first: int) -> list[Any]:
    """The outcome of one."""
    body = msgpack.packb({"items": [{**ITEM, "data": pixels(first)}]})
    async with minion.http.post("/v1/infer", data=body) as answer:
        return list(msgpack.unpackb(await answer.read())["outcomes"])


def mapped_by(pid: int) -> list[str]:
    """How a process maps the shared memory: its permissions there."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line.split()[1] for line in lines if "memfd:crema-pixels" in line]


async def test_items_of_all_kinds_of_requests_are_answered_each_with_its_own(minion: RunningMinion) -> None:
    for turn in range(30):
        first = 5 * turn % 200
        answers = await asyncio.gather(
            by_channel(minion, first),
            by_door(minion, first + 1),
            by_channel(minion, first + 2, first + 3, first + 4),
        )
        assert answers == [
            [{"ok": first}],
            [{"ok": first + 1}],
            [{"ok": first + 2}, {"ok": first + 3}, {"ok": first + 4}],
        ]


async def test_host_and_workers_map_one_memory_and_workers_only_read_it(minion: RunningMinion) -> None:
    _, body = await minion.readiness()
    assert mapped_by(minion.process.pid) == ["rw-s"]
    assert [mapped_by(each["pid"]) for each in body["workers"]] == [["r--s"], ["r--s"]]


async def test_beside_and_after_a_killed_worker_every_item_is_answered_with_its_own(
    minion: RunningMinion,
) -> None:
    calls = [asyncio.ensure_future(by_channel(minion, number)) for number in range(6)]
    os.kill(await minion.worker_pid(), signal.SIGKILL)
    for number, (outcome,) in enumerate(await asyncio.gather(*calls)):
        assert outcome == {"ok": number} or outcome["error"]["code"] in ("not_ready", "overloaded")

    async def is_replaced() -> bool:
        return bool((await minion.readiness())[1]["restarts"] == 1 and await both_are_ready(minion))

    await eventually(is_replaced)
    for first in range(50, 100, 6):
        answers = await asyncio.gather(*(by_channel(minion, number) for number in range(first, first + 6)))
        assert answers == [[{"ok": number}] for number in range(first, first + 6)]


async def test_a_model_that_writes_past_every_mark_ends_its_own_worker_and_nobody_s_pixels(
    tmp_path: Path,
) -> None:
    """The next worker gives it copies again, and finds out what it does."""
    package = write_wide_package(tmp_path)
    model = package / "model.py"
    write = "if batch[0, 0, 0, 0] == 66: ctypes.memset(batch.ctypes.data, 67, 1)"
    model.write_text(
        "import ctypes\n" + model.read_text().replace("        return", f"        {write}\n        return")
    )
    async with running_minion(str(package.parent)) as minion:
        for first in range(2 * PROBATION):
            assert await by_channel(minion, first) == [{"ok": first}]
        [outcome] = await by_channel(minion, 66)
        assert outcome["error"]["code"] == "not_ready", "the worker died, and the caller may try again"
        await minion.until("ready")
        for first in (1, 66, 2):
            assert await by_channel(minion, first) == [{"ok": 67 if first == 66 else first}]
        assert (await minion.readiness())[1]["restarts"] == 1
