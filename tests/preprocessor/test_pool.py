"""The pool with real processes: what a bomb, a crash, a deadline and a change of process cost, and whom."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgpack
import pytest

from crema.errors import CremaError
from crema.names import OPTIONAL_FORMATS
from preprocessor.colour import Profiles
from preprocessor.decode import decode
from preprocessor.decoder_process import Limits
from preprocessor.pool import Pool, cores
from preprocessor.spec import Spec
from tests.preprocessor import image_files as f
from tests.preprocessor.image_cases import GIF, JPEG, WEBP, Good
from tests.preprocessor.optional_cases import AVIF, BMP, HEIC, TIFF
from tests.preprocessor.png_cases import HEAVY, PNG
from tests.preprocessor.pools import Counted, decoded, is_alive, job, pids, running, states, until

pytestmark = pytest.mark.cluster

HASTY = [{"status": 422, "error": {"code": "undecodable_image", "message": "so soon"}}]
BOMB = f.many_scans(7000, 7000, 250)  # a second of CPU, inside every limit


def code(error: CremaError | None) -> str | None:
    return None if error is None else error.code


def of_process(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def open_files(pid: int) -> list[str]:
    return [entry.name for entry in Path(f"/proc/{pid}/fd").iterdir()]


async def test_the_pool_s_pixels_are_the_decode_function_s() -> None:
    photo, specs = f.jpeg(f.noisy(320, 240)), [Spec(64, 48), Spec(20, 30, "contain", "lanczos"), Spec(64, 48)]
    async with running() as (pool, _):
        done = await decoded(pool, photo, *specs)
    here = decode(photo, specs, Profiles())
    assert done.answer is not None
    assert bytes(done.pixels) == b"".join(tensor.data for tensor in here.tensors)
    assert done.answer["image"] == {"format": "jpeg", "width": 320, "height": 240, "bytes": len(photo)}


async def test_a_bomb_is_killed_and_its_neighbours_are_served() -> None:
    async with running(2, limits=Limits(cpu_s=0.2)) as (pool, counted):
        before = pids(pool)
        bomb, *photos = await asyncio.gather(
            decoded(pool, BOMB), *(decoded(pool, f.jpeg()) for _ in range(20))
        )
        assert (code(bomb.error), bomb.error and bomb.error.status) == ("decode_timeout", 422)
        assert [code(photo.error) for photo in photos] == [None] * 20
        await until(lambda: states(pool) == ["ready"] * 2, "the killed process is replaced")
        assert counted.replaced == ["budget"]
        assert len(before & pids(pool)) == 1


async def test_a_killed_process_is_back_within_a_second_and_its_neighbour_works_on() -> None:
    async with running(2) as (pool, counted):
        bomb = asyncio.create_task(decoded(pool, BOMB))
        await until(lambda: "busy" in states(pool), "the bomb is being decoded")
        [victim] = [decoder["pid"] for decoder in pool.decoders if decoder["state"] == "busy"]
        photos = asyncio.gather(*(decoded(pool, f.jpeg()) for _ in range(40)))
        killed_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        assert code((await bomb).error) == "undecodable_image"
        assert [code(photo.error) for photo in await photos] == [None] * 40
        await until(lambda: states(pool) == ["ready"] * 2, "the killed process is replaced")
        assert time.monotonic() - killed_at < 1.0
        assert counted.replaced == ["died"] and victim not in pids(pool)


async def test_interactive_images_are_decoded_before_bulk_that_came_earlier() -> None:
    async with running(1) as (pool, _):
        first = asyncio.create_task(decoded(pool, BOMB))
        await until(lambda: states(pool) == ["busy"], "the decoder is taken")
        bulk, bulk_over = job(f.jpeg())
        bulk.lane = "bulk"
        interactive, over = job(f.jpeg())
        pool.submit(bulk)
        pool.submit(interactive)
        assert pool.ahead("bulk").images == 2 and pool.ahead("interactive").images == 1
        async with asyncio.timeout(20):
            await asyncio.gather(first, bulk_over, over)
        assert interactive.started_at is not None and bulk.started_at is not None
        assert interactive.started_at < bulk.started_at


async def test_a_format_that_is_switched_on_reaches_the_decoders() -> None:
    tiff = f.saved(f.quadrants(), "TIFF")
    one, over = job(f.jpeg())
    one.image = tiff
    async with running(1, formats=("tiff",)) as (pool, _):
        pool.submit(one)
        async with asyncio.timeout(20):
            await over
    assert one.error is None and one.answer is not None and one.answer["image"]["format"] == "tiff"


async def test_images_behind_a_bomb_wait_for_the_new_process() -> None:
    async with running(1, limits=Limits(cpu_s=0.2)) as (pool, _):
        bomb, photo = await asyncio.gather(decoded(pool, BOMB), decoded(pool, f.jpeg()))
        assert (code(bomb.error), code(photo.error)) == ("decode_timeout", None)


async def test_a_process_that_dies_costs_the_image_in_hand_only() -> None:
    async with running(1) as (pool, counted):
        (victim,) = pids(pool)
        first, second = asyncio.create_task(decoded(pool, BOMB)), asyncio.create_task(decoded(pool, f.jpeg()))
        await until(lambda: states(pool) == ["busy"], "the first image is being decoded")
        os.kill(victim, signal.SIGKILL)
        assert code((await first).error) == "undecodable_image"
        assert code((await second).error) is None
        assert counted.replaced == ["died"]


async def test_a_stopped_process_is_noticed_by_the_wall_clock() -> None:
    async with running(1, limits=Limits(cpu_s=0.2, stall_s=0.4)) as (pool, counted):
        (victim,) = pids(pool)
        os.kill(victim, signal.SIGSTOP)
        assert code((await decoded(pool, f.jpeg())).error) == "decode_timeout"
        assert code((await decoded(pool, f.jpeg())).error) is None
        assert counted.replaced == ["budget"]


async def test_an_image_over_the_memory_limit_is_refused_and_the_process_lives() -> None:
    rgba = f.saved(f.Image.new("RGBA", (4000, 4000), (1, 2, 3, 100)), "PNG", compress_level=1)
    async with running(1, limits=Limits(memory_mb=48)) as (pool, counted):
        before = pids(pool)
        assert code((await decoded(pool, rgba)).error) == "image_too_large"
        assert code((await decoded(pool, f.jpeg())).error) is None
        assert pids(pool) == before and counted.replaced == []


async def test_a_deadline_that_passes_while_decoding_is_a_504_and_no_kill() -> None:
    async with running(1, limits=Limits(abandoned_s=10.0)) as (pool, counted):
        before = pids(pool)
        assert code((await decoded(pool, BOMB, deadline_s=0.1)).error) == "deadline_exceeded"
        await until(lambda: states(pool) == ["ready"], "the decode ended by itself")
        assert pids(pool) == before and counted.replaced == [] and counted.dropped == []


async def test_a_long_decode_that_nobody_waits_for_is_killed_sooner() -> None:
    async with running(1, limits=Limits(abandoned_s=0.1)) as (pool, counted):
        one, _ = job(BOMB)
        pool.submit(one)
        await until(lambda: states(pool) == ["busy"], "the image is being decoded")
        pool.abandon(one)
        await until(lambda: counted.replaced == ["budget"], "the process is replaced")
        assert code((await decoded(pool, f.jpeg())).error) is None


async def test_waiting_work_that_expires_or_is_abandoned_is_never_decoded() -> None:
    async with running(1) as (pool, counted):
        first = asyncio.create_task(decoded(pool, BOMB))
        await until(lambda: states(pool) == ["busy"], "the bomb is being decoded")
        left, over = job(f.jpeg())
        pool.submit(left)
        late = asyncio.create_task(decoded(pool, f.jpeg(), deadline_s=0.05))
        pool.abandon(left)
        assert code((await late).error) == "deadline_exceeded"
        await first
        assert counted.dropped == ["abandoned", "expired"]
        assert not over.done() and left.started_at is None


async def test_a_sooner_deadline_that_comes_later_is_kept_and_the_later_one_too() -> None:
    async with running(1) as (pool, counted):
        first = asyncio.create_task(decoded(pool, BOMB))
        await until(lambda: states(pool) == ["busy"], "the decoder is taken")
        later = asyncio.create_task(decoded(pool, f.jpeg(), deadline_s=0.3))
        sooner = asyncio.create_task(decoded(pool, f.jpeg(), deadline_s=0.05))
        assert code((await sooner).error) == "deadline_exceeded" and not later.done()
        assert code((await later).error) == "deadline_exceeded" and not first.done()
        assert counted.dropped == ["expired", "expired"]
        await first


@pytest.mark.parametrize("said", ["b'nonsense'", "b'\\x81\\xa6status\\xcc\\xc8'", "b'ready'"])
async def test_a_decoder_that_talks_nonsense_is_ended(
    said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, taken_over = sys.executable, tmp_path / "decoder"
    lines = [
        f"#!{real}",
        "import socket, sys",
        "link = socket.socket(fileno=int(sys.argv[sys.argv.index('--fd') + 1]))",
        f"link.send(b'ready'); link.recv(65536); link.send({said}); link.recv(1)",
    ]
    taken_over.write_text("\n".join(lines))
    taken_over.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(taken_over))
    async with running(1) as (pool, counted):
        monkeypatch.setattr(sys, "executable", real)
        assert code((await decoded(pool, f.jpeg())).error) == "undecodable_image"
        assert code((await decoded(pool, f.jpeg())).error) is None
        assert counted.replaced == ["died"]


async def test_every_decoder_has_a_tray_of_its_own() -> None:
    async with running(2) as (pool, _):
        trays = [
            {line.split()[4] for line in of_process(pid, "maps").splitlines() if b"crema-tray" in line}
            for pid in pids(pool)
        ]
        assert [len(each) for each in trays] == [1, 1] and trays[0] != trays[1]


async def test_decoders_that_come_and_go_leave_no_descriptor() -> None:
    async with running(1, recycle_after=1) as (pool, _):
        await decoded(pool, f.jpeg())
        await until(lambda: len(pids(pool)) == 1 and states(pool) == ["ready"], "the successor is alone")
        before = len(open_files(os.getpid()))
        for _ in range(3):
            await decoded(pool, f.jpeg())
            await until(lambda: len(pids(pool)) == 1 and states(pool) == ["ready"], "the successor is alone")
        assert len(open_files(os.getpid())) <= before


async def test_processes_are_recycled_without_losing_an_image() -> None:
    async with running(2, recycle_after=5) as (pool, counted):
        before = pids(pool)
        photo = f.jpeg()
        for _ in range(20):
            done = await asyncio.gather(*(decoded(pool, photo) for _ in range(4)))
            assert [code(one.error) for one in done] == [None] * 4
        await until(lambda: not before & pids(pool), "the first processes are gone")
        assert set(counted.replaced) == {"recycled"}
        await until(lambda: len(pids(pool)) == 2, "as many processes as before")


async def test_a_process_that_dies_while_it_is_being_recycled_is_not_replaced_twice() -> None:
    async with running(1, recycle_after=1) as (pool, _):
        (old,) = pids(pool)
        await decoded(pool, f.jpeg())
        assert len(pids(pool)) == 2  # the successor starts beside it
        last = asyncio.create_task(decoded(pool, BOMB))
        await until(
            lambda: sorted(states(pool)) == ["busy", "ready"], "the old one is busy, the new one is ready"
        )
        os.kill(old, signal.SIGKILL)
        assert code((await last).error) == "undecodable_image"
        assert old not in pids(pool) and len(pids(pool)) == 1


async def test_a_process_that_cannot_start_is_tried_again_and_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = sys.executable
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = Pool(1, Counted())
    pool.start()
    try:
        await until(lambda: pool.last_failure is not None, "the failure is told")
        assert not pool.is_ready
        monkeypatch.setattr(sys, "executable", real)
        await until(lambda: pool.is_ready, "it starts once it can")
        assert pool.last_failure is None
    finally:
        await pool.close()


async def test_a_closing_pool_answers_everyone() -> None:
    async with running(1) as (pool, _):
        jobs = [asyncio.create_task(decoded(pool, BOMB)) for _ in range(3)]
        await until(lambda: states(pool) == ["busy"], "one runs, two wait")
        await pool.close()
        assert {code((await one).error) for one in jobs} == {"not_ready"}


async def test_a_decoder_has_no_secrets_and_nothing_open_but_its_socket_and_its_tray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CREMA_CLUSTER_TOKEN", "s3cret")
    async with running(1) as (pool, _):
        (pid,) = pids(pool)
        assert b"s3cret" not in of_process(pid, "environ")
        assert len(open_files(pid)) == 5  # the three standard ones, the socket and the tray


async def test_every_odd_image_is_answered_and_none_takes_a_gigabyte() -> None:
    # what is asked is memory: the heaviest takes a second of CPU here, and a slow machine must not stop it
    async with running(1, formats=OPTIONAL_FORMATS, limits=Limits(cpu_s=60, stall_s=60)) as (pool, counted):
        for case in (*JPEG, *WEBP, *GIF, *PNG, *HEAVY, *TIFF, *BMP, *AVIF, *HEIC):
            image = case.make()
            try:
                one, over = job(image, formats=OPTIONAL_FORMATS)
            except CremaError:
                continue  # refused before the pool
            pool.submit(one)
            async with asyncio.timeout(60):
                await over
            if isinstance(case.expected, Good):
                assert one.error is None, (case.name, one.error)
            elif one.error is not None:
                assert 400 <= one.error.status < 500, (case.name, one.error)
        assert counted.replaced == []
        (pid,) = pids(pool)
        peak = next(line for line in of_process(pid, "status").splitlines() if line.startswith(b"VmHWM:"))
        assert int(peak.split()[1]) < 1 << 20  # KiB


async def test_a_process_that_answers_before_it_was_asked_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While a large image is still being laid on the tray: its answer could be taken for that of the next one."""
    hasty = tmp_path / "hasty"
    hasty.write_text(
        f"#!{sys.executable}\nimport signal, socket, sys\n"
        "link = socket.socket(fileno=int(sys.argv[sys.argv.index('--fd') + 1]))\n"
        f"signal.signal(signal.SIGUSR1, lambda *_: link.send({msgpack.packb(HASTY)!r}))\n"
        "link.send(b'ready')\nwhile True: signal.pause()\n"
    )
    hasty.chmod(0o755)
    monkeypatch.setattr("preprocessor.decoder_process.sys.executable", str(hasty))
    monkeypatch.setattr("preprocessor.tray.PIECE_BYTES", 1)
    async with running(1) as (pool, counted):
        (pid,) = pids(pool)
        large, over = job(f.jpeg(f.noisy(1600, 1200)))
        pool.submit(large)
        os.kill(pid, signal.SIGUSR1)
        async with asyncio.timeout(20):
            error = (await over).error
        assert error is not None and "so soon" not in error.message
        assert counted.replaced == ["died"]


async def test_closing_leaves_no_process() -> None:
    async with running(2) as (pool, _):
        started = pids(pool)
    assert not any(is_alive(pid) for pid in started)


def test_auto_means_the_cores_this_process_may_use() -> None:
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
