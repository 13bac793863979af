"""Audit: who changed what, when, and how it ended. One JSON line per admin call in a file that is only appended to.

It records; it allows and forbids nothing. Secrets are not among what it is given.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

AUDIT_FILE: Final = "audit.jsonl"


class Audit:
    """The records in the file at `path`, which is made when it is not there (mode 0600)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def call(self, action: str, **what: Any) -> Iterator[dict[str, Any]]:
        """Around one admin call: leaves exactly one record of it, also when it fails.

        Yields the record's `what`, to which the call adds what it learns. Raises OSError before the call is made when no
        record could be kept.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        result = "ok"
        try:
            yield what
        except BaseException as error:
            result = f"failed: {error}".partition("\n")[0]
            raise
        finally:
            record = {
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "who": _who(),
                "action": action,
                **what,
                "result": result,
            }
            try:
                # one write: records of calls at the same time never mix
                os.write(descriptor, json.dumps(record).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _who() -> str:
    """The user of this machine who makes the call; behind sudo also who that was before."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER")
    return f"{user} (sudo by {before})" if before else user
