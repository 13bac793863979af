"""Report: what a check found, step by step, kept where `crema.host.check_reports` says. It decides not what a step means."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from crema.host.check_reports import reports_folder

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """How one step went. `message` is one line; `detail` holds further lines, a traceback for instance."""

    name: str
    status: Status
    seconds: float
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole check. `package` is the folder as it was named, `made_at` an ISO 8601 time in UTC."""

    package: str
    name: str
    version: str
    digest: str
    crema_version: str
    passed: bool
    steps: tuple[Step, ...]
    made_at: str

    @property
    def first_failed(self) -> Step | None:
        """The first step that failed: the reason of a refusal."""
        return next((step for step in self.steps if step.status == "failed"), None)

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values; a step without detail has no such key."""
        shown = asdict(self)
        shown["steps"] = [
            {key: value for key, value in asdict(step).items() if key != "detail" or value}
            for step in self.steps
        ]
        return shown

    def store(self, state: Path | None = None) -> Path:
        """Writes it to the user's cache and, given a cluster's state folder, there too. Returns the last path.

        Each file is whole or not there. Raises OSError.
        """
        path = _write(self, reports_folder(None))
        return path if state is None else _write(self, reports_folder(state))


def _write(report: Report, folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{report.digest}.json"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(report.document(), ensure_ascii=False) + "\n", encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
