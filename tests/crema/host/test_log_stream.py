"""A log that cannot be written."""

from __future__ import annotations

import errno
import io
import json

import structlog

from crema.host.log_stream import LogStream
from crema.host.logs import configure_logs


class Disk(io.StringIO):
    """Full while told to be."""

    is_full = False

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_fails_nobody_who_logs() -> None:
    disk = Disk()
    before = structlog.get_config()
    try:
        configure_logs("minion", stream=disk)
        disk.is_full = True
        structlog.get_logger("full").info("lost")
        disk.is_full = False
        structlog.get_logger("full").info("written")
    finally:
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
    lines = [json.loads(line) for line in disk.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["log_lines_lost", "written"]
    assert lines[0]["lines"] == 1


def test_lines_are_counted_for_as_long_as_none_can_be_written() -> None:
    disk = Disk()
    stream = LogStream(disk)
    disk.is_full = True
    for _ in range(3):
        print("a line", file=stream, flush=True)
    assert stream.lost == 3
    disk.is_full = False
    print("again", file=stream, flush=True)
    assert stream.lost == 0
    assert json.loads(disk.getvalue().splitlines()[0])["lines"] == 3
