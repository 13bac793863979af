"""Steps `golden` and `output`: the examples give the answers they promise, and every answer is one of its type."""

from __future__ import annotations

import json

from check.failure import StepFailed
from check.items import ExampleUnusable
from check.session import error_of, is_rejected
from check.steps.answers import first_difference, spoken
from check.subject import Subject


def check_golden(subject: Subject) -> str:
    """Each example, alone and with default params, answers what its `expect` file holds."""
    manifest = subject.manifest
    try:
        items = subject.examples
    except ExampleUnusable as error:
        raise StepFailed(str(error)) from None
    problems, details = [], []
    for example, item in zip(manifest.examples, items, strict=True):
        try:
            expected = json.loads(manifest.path(example.expect).read_text(encoding="utf-8"))
        except ValueError as error:
            problems.append(f"{example.expect} is not JSON: {error}")
            continue
        outcome = subject.session.alone(item)
        found = first_difference(manifest, {"ok": expected}, outcome, example.tolerance)
        if found is not None:
            problems.append(f"{item.name} {found}")
            details.append(str((outcome.get("error") or {}).get("traceback") or ""))
    if problems:
        raise StepFailed("\n".join(problems), detail=next(filter(None, details), ""))
    return f"{spoken(len(items), 'example')} within tolerance"


def check_output(subject: Subject) -> str:
    """Every probe gives an output of the declared type, or the model's own refusal of that item."""
    refused, wrong = [], []
    for item in subject.probes:
        outcome = subject.session.alone(item)
        if is_rejected(outcome):
            refused.append((item, outcome))
        elif (error := error_of(outcome)) is not None:
            wrong.append(f"{item.name}: {error}")
    if wrong:
        raise StepFailed("\n".join(wrong))
    if len(refused) == len(subject.probes):
        item, outcome = refused[0]
        raise StepFailed(
            f"not one of {len(refused)} probes is answered; {item.name}: {error_of(outcome)}",
            detail=str(outcome["error"].get("traceback") or ""),
        )
    words = f"{spoken(len(subject.probes), 'probe')} of type {subject.manifest.output.type}"
    if refused:
        item, outcome = refused[0]
        words += f"; the model refuses {', '.join(item.name for item, _ in refused)} ({error_of(outcome)})"
    return words
