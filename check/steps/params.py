"""Step `params`: each parameter is taken over its whole range, and changes something."""

from __future__ import annotations

from typing import Any

from check.failure import StepFailed
from check.params_sets import mixed_params, values_of
from check.probe import Outcome
from check.session import error_of, is_rejected
from check.steps.answers import spoken
from check.subject import Subject


def check_params(subject: Subject) -> str:
    """Run at default, minimum and maximum; one that changes no answer on any item is refused."""
    manifest = subject.manifest
    idle = []
    for name, param in manifest.params.items():
        values = values_of(param)
        for value in values:
            for item in subject.pool:
                _refuse_broken(subject, item.name, subject.session.alone(item, {name: value}), name, value)
        if not any(_changes(subject, name, value) for value in values):
            idle.append(
                f"{name} changes no answer: {_shown(values)} and the default give the same on all items"
            )
    if idle:
        raise StepFailed(
            "\n".join(idle), hint="use params[i] for item i, or take the parameter out of the manifest"
        )
    return (
        f"{spoken(len(manifest.params), 'param')} over their ranges" if manifest.params else "none declared"
    )


def _changes(subject: Subject, name: str, value: Any) -> bool:
    """Whether `value` gives any item another answer than the default, whatever the other params are."""
    default = subject.manifest.params[name].default
    for others in mixed_params(subject.manifest):
        left, right = {**others, name: default}, {**others, name: value}
        left = {key: one for key, one in left.items() if one != subject.manifest.params[key].default}
        for item in subject.pool:
            if subject.session.alone(item, left).get("ok") != subject.session.alone(item, right).get("ok"):
                return True
    return False


def _refuse_broken(subject: Subject, item: str, outcome: Outcome, name: str, value: Any) -> None:
    error = error_of(outcome)
    if error is None or is_rejected(subject.session.alone(next(i for i in subject.pool if i.name == item))):
        return
    raise StepFailed(
        f"{item} with {name}: {value!r} fails with {error}",
        detail=str(outcome["error"].get("traceback") or ""),
        hint="accept the whole range that the manifest allows, or narrow it",
    )


def _shown(values: list[Any]) -> str:
    return ", ".join(repr(value)[:40] for value in values) or "no other value"
