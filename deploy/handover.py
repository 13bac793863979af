"""Handover: whether a package passed its checklist. The check is another program; this runs it and reads its report.

Reports lie under the digest of every file that they are about, where the check stores them: a package that did not
change is not checked twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from crema.host.check_reports import has_passed
from crema.host.turns import take_long_turns
from crema.session import set_niceness

CHECK: Final = (sys.executable, "-m", "crema.cli", "check")
TIMEOUT_S: Final = 600.0
# Beside callers' work, a check is what can wait.
NICENESS: Final = 10
_MOST_OUTPUT: Final = 1 << 22
_MOST_DETAIL: Final = 4000
_ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Handover:
    """What the checklist says. `problem` is one line, `detail` what stands under it: the package's own traceback."""

    passed: bool
    digest: str
    problem: str = ""
    detail: str = ""
    is_stored: bool = False
    """Whether the report lay there already."""


class Checks(Protocol):
    """Says whether a package passed its checklist."""

    async def of(self, package: Path, digest: str, progress: Callable[[str], None]) -> Handover:
        """The report of a package with this digest."""


class Handovers:
    """Runs checks by `command`, to which the package's folder, `--json` and the cluster file are added; looks for reports
    in the cluster's state folder `state` and in the user's cache."""

    def __init__(
        self, state: Path, cluster: Path | None, command: Sequence[str] = CHECK, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._state = state
        self._cluster = cluster
        self._command = tuple(command)
        self._timeout_s = timeout_s

    async def of(self, package: Path, digest: str, progress: Callable[[str], None]) -> Handover:
        """The report of a package with this digest: the stored one if it passed, else a new one. Raises nothing: a check
        that cannot be run was not passed."""
        if await asyncio.to_thread(has_passed, digest, self._state):
            return Handover(True, digest, is_stored=True)
        progress("checking")
        try:
            status, output, errors = await self._run(package)
        except TimeoutError:
            return Handover(False, digest, f"the check did not end within {self._timeout_s:.0f} s")
        except OSError as error:
            return Handover(False, digest, f"the check could not be started: {error}")
        try:
            report = json.loads(output)
            return self._read(report, status, digest)
        except (ValueError, KeyError, TypeError):
            first, _, more = errors.decode("utf-8", "replace").strip().partition("\n")
            return Handover(False, digest, first or f"the check ended with status {status}", more)

    def _read(self, report: Mapping[str, Any], status: int, digest: str) -> Handover:
        if report["digest"] != digest:
            return Handover(False, digest, "the package's files changed while it was checked\n  try: again")
        if report["passed"] is True and status == 0:
            return Handover(True, digest)
        failed = next((step for step in report["steps"] if step["status"] == "failed"), None)
        if failed is None:
            return Handover(False, digest, f"the check ended with status {status}")
        detail = str(failed.get("detail") or "")[-_MOST_DETAIL:]
        return Handover(False, digest, f"{failed['name']}: {failed['message']}", detail)

    async def _run(self, package: Path) -> tuple[int, bytes, bytes]:
        environment = {**os.environ, "PYTHONPATH": _with_root(os.environ.get("PYTHONPATH"))}
        named = () if self._cluster is None else ("--cluster", str(self._cluster))
        process = await asyncio.create_subprocess_exec(
            *self._command, str(package), "--json", *named,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment, start_new_session=True, limit=_MOST_OUTPUT,
        )  # fmt: skip
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        # what it starts leads sessions of its own, and takes this over
        set_niceness(NICENESS, process.pid)
        take_long_turns(process.pid)
        try:
            async with asyncio.timeout(self._timeout_s):
                output, errors = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.returncode is None:
                await process.wait()
        return process.returncode or 0, output, errors


def _with_root(path: str | None) -> str:
    return f"{_ROOT}{os.pathsep}{path}" if path else str(_ROOT)
