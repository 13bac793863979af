"""The journal never costs a request anything but its line."""

from __future__ import annotations

import io
import json

from coordinator.event import Event
from coordinator.journal import MAX_WAITING, Journal


class Full(io.StringIO):
    """A log that cannot be written."""

    def write(self, text: str) -> int:
        raise OSError("no space left")


def event_of(body_bytes: int) -> Event:
    return Event("request", "req_1", "analyze", 200, "ok", body_bytes, 0.1, 2.3)


async def test_events_are_written_together_as_json_lines() -> None:
    stream = io.StringIO()
    journal = Journal("coordinator", stream=stream)
    journal.write(event_of(1))
    journal.write(event_of(2))
    assert stream.getvalue() == ""
    journal.flush()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["body_bytes"] for line in lines] == [1, 2]
    assert all(line["timestamp"].endswith("Z") and line["level"] == "info" for line in lines)


async def test_a_journal_that_is_off_writes_nothing() -> None:
    stream = io.StringIO()
    journal = Journal("coordinator", is_on=False, stream=stream)
    journal.write(event_of(1))
    journal.flush()
    assert stream.getvalue() == ""


async def test_a_log_that_cannot_be_written_is_counted() -> None:
    journal = Journal("coordinator", stream=Full())
    journal.write(event_of(1))
    journal.flush()
    assert journal.dropped == 1


async def test_a_reader_that_is_too_slow_costs_lines_and_no_memory() -> None:
    journal = Journal("coordinator", stream=io.StringIO())
    for _ in range(MAX_WAITING + 3):
        journal.write(event_of(1))
    assert journal.dropped == 3
    journal.flush()
