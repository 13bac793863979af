"""LogFile: bounded, and read for last words only."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.log_file import LogFile


def write(log: LogFile, text: str) -> None:
    descriptor = log.open()
    os.write(descriptor, text.encode())
    os.close(descriptor)


def test_a_log_under_the_limit_is_appended_to(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", limit_bytes=100)
    write(log, "one\n")
    write(log, "two\n")
    assert log.path.read_text() == "one\ntwo\n"


def test_a_log_over_the_limit_is_put_aside_at_the_next_start(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", limit_bytes=5)
    write(log, "much too long\n")
    write(log, "new\n")
    assert log.path.read_text() == "new\n"
    assert (tmp_path / "a.log.1").read_text() == "much too long\n"


def test_a_log_that_grows_is_trimmed_under_its_writer(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", limit_bytes=5)
    descriptor = log.open()
    os.write(descriptor, b"much too long\n")
    log.trim()
    os.write(descriptor, b"new\n")
    os.close(descriptor)
    assert log.path.read_text() == "new\n"
    assert (tmp_path / "a.log.1").read_text() == "much too long\n"


def test_last_words_are_an_events_text_and_error(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    write(log, 'starting\n{"event": "load_failed", "error": "no weights", "level": "error"}\n\n')
    assert log.last_words() == "load_failed: no weights"


def test_last_words_are_the_last_line_of_a_traceback(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    write(log, "Traceback (most recent call last):\n  File x\nOSError: address in use\n")
    assert log.last_words() == "OSError: address in use"


def test_what_an_earlier_process_wrote_is_not_the_last_word(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    write(log, "earlier\n")
    write(log, "")
    assert log.last_words() is None


def test_only_its_owner_can_read_a_log(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    write(log, "x")
    assert log.path.stat().st_mode & 0o777 == 0o600
