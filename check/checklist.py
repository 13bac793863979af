"""The handover checklist: its steps in their order, each with the steps that it needs.

A step is a function that takes the package under check and returns a line of words, or raises StepFailed with the reason.
Everything of the package runs in probe workers (`check.probe`), never here.
"""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from check.failure import StepFailed
from check.items import ExampleUnusable
from check.photos import Photos
from check.probe import BatchRaised, WorkerLost
from check.report import Report, Step
from check.steps.batch import check_batch
from check.steps.changes import check_changes
from check.steps.environment import check_environment
from check.steps.golden import check_golden, check_output
from check.steps.load import check_load, check_loads, refused_actions
from check.steps.lock import check_lock
from check.steps.manifest import check_manifest
from check.steps.params import check_params
from check.steps.poison import check_poison
from check.steps.sweep import check_latency, check_memory
from check.steps.version import check_version
from check.steps.weights import check_weights
from check.subject import Place, Progress, Subject, on_the_cpu
from crema import __version__
from crema.host.package_paths import package_digest


class StepPlan(NamedTuple):
    """A step of the checklist: its name, what it does, and the steps without which it means nothing."""

    name: str
    run: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


STEPS: Final = (
    StepPlan("manifest", check_manifest),
    StepPlan("lock", check_lock, ("manifest",)),
    StepPlan("environment", check_environment, ("lock",)),
    StepPlan("weights", check_weights, ("manifest",)),
    StepPlan("load", check_load, ("environment", "weights")),
    StepPlan("golden", check_golden, ("load",)),
    StepPlan("output", check_output, ("load",)),
    StepPlan("batch", check_batch, ("output",)),
    StepPlan("params", check_params, ("output",)),
    StepPlan("poison", check_poison, ("load",)),
    StepPlan("loads", check_loads, ("output",)),
    StepPlan("memory", check_memory, ("output",)),
    StepPlan("latency", check_latency, ("output",)),
    StepPlan("changes", check_changes, ("manifest",)),
    StepPlan("version", check_version, ("output",)),
)


def check_package(
    folder: Path,
    *,
    packages: Path | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    on_progress: Progress = lambda text: None,
    place: Place = on_the_cpu,
) -> Report:
    """Runs every step on the package in `folder` and returns the report (not stored yet).

    `packages` is the folder of all packages (None: the folder's own siblings). `on_step` hears of each step as it ends,
    `on_progress` what is being done meanwhile; `place` chooses the device. Not to be called where an event loop runs.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - folders are compared by name, so no `..`
    digest = package_digest(folder)
    done: dict[str, Step] = {}
    with (
        tempfile.TemporaryDirectory(prefix="crema-check-", ignore_cleanup_errors=True) as work,
        Photos() as photos,
    ):
        subject = Subject(folder, packages, Path(work), photos, on_progress, place)
        with closing(subject):
            for plan in STEPS:
                on_progress(plan.name)
                done[plan.name] = _run(plan, subject, done)
                on_step(done[plan.name])
    if done["manifest"].status == "ok" and package_digest(folder) != digest:
        moved = Step(
            "version", "failed", 0.0, "the package's files changed while it was checked; check again"
        )
        done["version"] = moved
    return Report(
        package=str(folder),
        name=folder.parent.name,
        version=folder.name,
        digest=digest,
        crema_version=__version__,
        passed=all(step.status == "ok" for step in done.values()),
        steps=tuple(done.values()),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _run(plan: StepPlan, subject: Subject, done: dict[str, Step]) -> Step:
    """One step, timed. What the guard sees during it fails it, too, and not the steps after it."""
    missing = [name for name in plan.needs if done[name].status != "ok"]
    if missing:
        return Step(plan.name, "skipped", 0.0, f"needs {missing[0]}")
    started = time.monotonic()
    known = {refused_actions(session) for session in subject.opened}
    try:
        message = plan.run(subject)
        for session in subject.opened:
            if (tried := refused_actions(session)) is not None and tried not in known:
                raise StepFailed(tried)
        return Step(plan.name, "ok", _since(started), message)
    except StepFailed as failed:
        return Step(plan.name, "failed", _since(started), str(failed), failed.detail)
    except (ExampleUnusable, WorkerLost, BatchRaised, OSError) as error:
        return Step(plan.name, "failed", _since(started), str(error), str(getattr(error, "detail", "")))
    except Exception as error:
        what = f"{type(error).__name__}: {error}; this is a bug of crema's"
        return Step(plan.name, "failed", _since(started), what, traceback.format_exc())


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
