"""Step `lock`: every lock is fresh, pinned and hashed throughout, and holds what crema's worker needs."""

from __future__ import annotations

from pathlib import Path

from check.failure import StepFailed
from check.subject import Subject
from crema.host.development import PYTHON_VARIABLE, development_python
from envs.clash import project_name
from envs.lock_file import BASE_REQUIREMENTS, LockFile, LockRefused, found_locks, wishes


def check_lock(subject: Subject) -> str:
    """There is a lock, and none is stale, unpinned or without hashes."""
    locks = found_locks(subject.folder)
    if not locks:
        if development_python() is not None:
            return f"none; {PYTHON_VARIABLE} stands in for the package's environment"
        raise StepFailed("there is no lock", hint=f"crema lock {subject.folder}")
    problems = [problem for path in locks.values() if (problem := _problem(subject, path))]
    if problems:
        raise StepFailed("\n".join(problems), hint=f"crema lock {subject.folder}")
    return ", ".join(
        f"{profile}: {len(LockFile.read(path).requirements)} packages" for profile, path in locks.items()
    )


def _problem(subject: Subject, file: Path) -> str | None:
    try:
        lock = LockFile.read(file)
        if lock.is_stale(subject.folder, subject.manifest.python):
            return f"{file.name} is stale: requirements.in, crema's envs/base.in or `python` changed since it was made"
    except LockRefused as error:
        return str(error)
    locked = {project_name(requirement.name) for requirement in lock.requirements}
    missing = [wish for wish in _needs() if project_name(wish) not in locked]
    return f"{file.name} lacks {', '.join(missing)}, which crema's worker needs" if missing else None


def _needs() -> list[str]:
    return wishes(BASE_REQUIREMENTS.read_text(encoding="utf-8"))
