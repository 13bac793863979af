"""What a worker prints is logged within bounds and its tail is kept."""

from __future__ import annotations

import asyncio
import os
import threading

from structlog.testing import capture_logs

from minion.worker_output import BURST_LINES, MAX_LINE_CHARS, TAIL_LINES, LineBudget, WorkerOutput


def write_all(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


async def read(data: bytes) -> tuple[WorkerOutput, list[dict[str, object]]]:
    """Everything written to the pipe by a thread that ends, read to its end."""
    read_end, write_end = os.pipe()
    output = WorkerOutput(read_end, 7)
    with capture_logs() as logs:
        output.start()
        writer = threading.Thread(target=write_all, args=(write_end, data))
        writer.start()
        async with asyncio.timeout(20):
            while writer.is_alive() or output.is_open:
                await asyncio.sleep(0.001)
        writer.join()
    return output, [dict(event) for event in logs]


async def test_every_line_is_an_event_with_the_worker_s_pid() -> None:
    _, logs = await read(b"one\ntwo\r\n")
    assert [(event["event"], event["pid"], event["line"]) for event in logs] == [
        ("worker_output", 7, "one"),
        ("worker_output", 7, "two"),
    ]


async def test_the_last_line_counts_without_an_end() -> None:
    output, _ = await read(b"one\ntwo")
    assert output.tail == ["one", "two"]


async def test_only_the_last_lines_are_kept() -> None:
    output, _ = await read(b"".join(b"%d\n" % i for i in range(100)))
    assert output.tail == [str(i) for i in range(100 - TAIL_LINES, 100)]


async def test_what_is_not_text_is_shown_escaped() -> None:
    output, _ = await read(b"\xff\xfe\n")
    assert output.tail == ["\\xff\\xfe"]


async def test_a_flood_is_read_to_its_end_and_counted_not_logged() -> None:
    output, logs = await read(b"x" * 99 + b"\n" + b"y\n" * 500_000)
    lines = [event for event in logs if event["event"] == "worker_output"]
    suppressed = sum(
        int(str(event["lines"])) for event in logs if event["event"] == "worker_output_suppressed"
    )
    assert len(lines) + suppressed == 500_001
    assert len(lines) < 2 * BURST_LINES
    assert len(output.tail) == TAIL_LINES


async def test_a_line_that_never_ends_is_cut() -> None:
    output, logs = await read(b"x" * 5_000_000)
    assert output.tail == ["x" * MAX_LINE_CHARS]
    assert len(logs) == 1


def test_a_line_budget_allows_a_burst_and_then_a_rate() -> None:
    budget = LineBudget(per_s=2.0, burst=3.0)
    assert [budget.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(10.4)
    assert budget.take(10.5)
