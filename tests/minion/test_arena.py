"""The arena: blocks are given back by whoever forgets them last, and nobody can harm what all share."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest

from minion import arena as arenas
from minion.arena import LEAST_BYTES, Arena, arena_for, offset_of
from tests.minion.dispatcher_rig import Rig, turn

ITEM = 100


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(4, ITEM)
    yield made
    made.close()


def take(arena: Arena, size: int = ITEM) -> memoryview:
    taken = arena.take(size)
    assert taken is not None
    assert len(taken) == size
    return taken


def test_a_block_is_given_back_when_the_last_view_of_it_goes(arena: Arena) -> None:
    block = take(arena)
    piece = memoryview(block)[10:20]
    del block
    assert arena.taken_bytes == ITEM
    del piece
    assert arena.taken_bytes == 0


def test_blocks_that_are_taken_never_overlap_and_a_full_arena_has_none(arena: Arena) -> None:
    blocks = [take(arena) for _ in range(4)]
    for number, block in enumerate(blocks):
        block[:] = bytes([number]) * ITEM
    assert [set(block) for block in blocks] == [{0}, {1}, {2}, {3}]
    assert arena.take(ITEM) is None
    assert arena.take(0) is not None, "nothing needs no room"
    kept = offset_of(blocks[2])
    del blocks[2], block
    assert offset_of(take(arena)) == kept


def test_what_comes_one_after_the_other_lies_side_by_side_and_soon_where_it_is_warm() -> None:
    arena = Arena(100, ITEM)
    waiting = [take(arena) for _ in range(8)]
    seen = []
    for _ in range(12):
        # a batch of four goes, and as many come
        del waiting[:4]
        waiting += [take(arena) for _ in range(4)]
        seen.append([offset_of(block) for block in waiting[-4:]])
    assert all(offsets == list(range(offsets[0], offsets[0] + 4 * ITEM, ITEM)) for offsets in seen)  # type: ignore[arg-type,operator]
    assert max(max(offsets) for offsets in seen) < 20 * ITEM, "and not through all of the arena"  # type: ignore[type-var,operator]
    arena.close()


def test_a_payload_of_several_items_lies_in_one_block(arena: Arena) -> None:
    first, three = take(arena), take(arena, 3 * ITEM)
    assert (offset_of(first), offset_of(three)) == (0, ITEM)
    assert arena.take(1) is None


def test_room_that_was_given_back_is_room_whatever_sizes_it_was_cut_into(arena: Arena) -> None:
    single = [take(arena) for _ in range(4)]
    assert arena.take(2 * ITEM) is None
    del single[1:3]
    assert offset_of(take(arena, 2 * ITEM)) == ITEM
    single.clear()
    assert offset_of(take(arena, 4 * ITEM)) == 0


def test_what_was_written_is_what_others_who_map_it_read(arena: Arena) -> None:
    take(arena)
    block = take(arena)
    block[:3] = b"abc"
    offset = offset_of(block)
    assert offset is not None
    with mmap.mmap(arena.descriptor, arena.size, prot=mmap.PROT_READ) as theirs:
        assert theirs[offset : offset + 3] == b"abc"


def test_nobody_who_has_the_descriptor_can_resize_or_newly_write_it(arena: Arena) -> None:
    for size in (0, arena.size * 2):
        with pytest.raises(OSError):
            os.ftruncate(arena.descriptor, size)
    with pytest.raises(OSError):
        mmap.mmap(arena.descriptor, arena.size)
    with pytest.raises(OSError):
        os.pwrite(arena.descriptor, b"x", 0)


def test_small_items_and_systems_without_such_memory_have_no_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arena_for(8, LEAST_BYTES - 1) is None

    def refuse(name: str, flags: int) -> int:
        raise OSError("not here")

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert arena_for(8, LEAST_BYTES) is None


def test_an_arena_is_bounded_however_many_places_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arenas, "MOST_BYTES", 1000)
    made = Arena(1000, ITEM)
    assert made.size == 10 * ITEM
    made.close()


def test_other_payloads_have_no_place(arena: Arena) -> None:
    assert offset_of(b"abc") is None
    assert offset_of(memoryview(b"abc")) is None


# -- through the dispatcher --------------------------------------------------------------------------------------------


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    rig.ready()
    rig.arena = Arena(8, 4)
    return rig


async def test_a_worker_is_told_where_each_item_lies(rig: Rig) -> None:
    rig.asked(2)
    await turn()
    assert rig.worker.at == [[0, 4]], "the items of a request lie side by side"


async def test_a_batch_may_hold_items_that_lie_there_and_others(rig: Rig) -> None:
    rig.asked()
    arena, rig.arena = rig.arena, None
    rig.asked()
    await turn()
    assert rig.worker.at == [[0, None]]
    assert arena is not None
    rig.asked()
    rig.finish()
    assert rig.worker.at == [[0, None], None], "and one of which none lies there is handed over as ever"


async def test_a_block_is_free_when_its_request_is_answered(rig: Rig) -> None:
    assert rig.arena is not None
    rig.asked()
    await turn()
    assert rig.arena.taken_bytes == 4
    rig.finish()
    assert rig.arena.taken_bytes == 0


async def test_what_its_caller_abandoned_while_it_runs_keeps_its_block_until_the_worker_is_done(
    rig: Rig,
) -> None:
    assert rig.arena is not None
    request = rig.asked()
    await turn()
    rig.dispatcher.abandon(request)
    del request
    assert rig.arena.taken_bytes == 4
    rig.finish()
    assert rig.arena.taken_bytes == 0


async def test_what_waits_and_is_abandoned_frees_its_block_at_once(rig: Rig) -> None:
    assert rig.arena is not None
    rig.asked()
    await turn()
    waiting = rig.asked()
    rig.dispatcher.abandon(waiting)
    del waiting
    assert rig.arena.taken_bytes == 4


async def test_a_lost_worker_frees_what_it_ran(rig: Rig) -> None:
    assert rig.arena is not None
    rig.asked(3)
    await turn()
    rig.lose()
    assert rig.arena.taken_bytes == 0


async def test_a_batch_that_raised_keeps_its_blocks_until_every_item_is_settled(rig: Rig) -> None:
    assert rig.arena is not None
    rig.ask_for(1, 2, 3, 4)
    await turn()
    assert rig.work(guilty=[3]) > 1
    assert rig.arena.taken_bytes == 0
    assert sorted("ok" in each for each in rig.answers[1][0]) == [False, True, True, True]
