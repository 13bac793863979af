"""Step `version`: a minor step answers as the minor before and as MAJOR.0; a major step says what changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from check.failure import StepFailed
from check.items import Item
from check.params_sets import mixed_params
from check.probe import WorkerLost
from check.steps.answers import first_difference, spoken
from check.steps.changes import has_section
from check.steps.environment import check_environment
from check.steps.lock import check_lock
from check.steps.manifest import check_manifest
from check.subject import Subject
from crema.host.manifest import MANIFEST_NAME, Manifest
from crema.host.manifest_parts import BooleanParam, IntegerParam, NumberParam, Param, StringParam
from crema.names import Version, parse_version


def check_version(subject: Subject) -> str:
    """Compared with the versions that lie beside it."""
    own = parse_version(subject.manifest.version)
    others = other_versions(subject)
    earlier = [version for version in others if version < own]
    if not earlier:
        return "the first version here"
    same_major = [version for version in earlier if version.major == own.major]
    if not same_major:
        if not has_section(subject.folder, str(own)):
            raise StepFailed(f"a major step after {earlier[-1]} has to say what changed, in CHANGES.md")
        return f"a major step after {earlier[-1]}; CHANGES.md says what changed"
    before = [same_major[-1]]
    if same_major[0].minor == 0 and same_major[0] not in before:
        before.append(same_major[0])
    compared = [_compare(subject, others[version], str(version)) for version in before]
    return "; ".join(compared)


def other_versions(subject: Subject) -> dict[Version, Path]:
    """The sibling folders that hold a version, oldest first (3.10 after 3.9)."""
    root = subject.folder.parent
    if subject.packages is not None and (subject.packages / subject.manifest.name).is_dir():
        root = subject.packages / subject.manifest.name
    found = {}
    for folder in root.iterdir():
        try:
            version = parse_version(folder.name)
        except ValueError:
            continue
        if str(version) != subject.manifest.version and (folder / MANIFEST_NAME).is_file():
            found[version] = folder
    return dict(sorted(found.items()))


def _compare(subject: Subject, folder: Path, version: str) -> str:
    """Raises StepFailed when the package is no minor step after the one in `folder`."""
    other = replace(subject, folder=folder, opened=[], profile=None, _manifest=None, _python=None)
    try:
        for step in (check_manifest, check_lock, check_environment):
            try:
                step(other)
            except StepFailed as failed:
                raise StepFailed(
                    f"{version} is there and cannot be compared: {failed}", detail=failed.detail
                ) from None
        if lost := list(broken_promises(other.manifest, subject.manifest)):
            raise StepFailed(
                "\n".join(f"a minor step keeps what {version} promised: {promise}" for promise in lost),
                hint=f"restore it, or make this {parse_version(subject.manifest.version).major + 1}.0",
            )
        try:
            _ = other.session.probe
        except WorkerLost as problem:
            raise StepFailed(
                f"{version} is there and does not load: {problem}", detail=problem.detail
            ) from None
        return _same_answers(subject, other, version)
    finally:
        other.close()


def _same_answers(subject: Subject, other: Subject, version: str) -> str:
    least = min(subject.probes[0].tolerance, other.probes[0].tolerance)
    theirs = [replace(item, name=f"{item.name} of {version}") for item in other.examples]
    known = {item.pixels: item for item in subject.examples}
    items = [
        *(replace(item, tolerance=_smaller(item, other.examples)) for item in subject.examples),
        *(replace(item, tolerance=min(item.tolerance, least)) for item in theirs if item.pixels not in known),
        *(replace(item, tolerance=least) for item in subject.probes),
    ]
    sets = mixed_params(other.manifest)
    for item in items:
        for params in sets:
            subject.progress(f"comparing with {version}: {item.name}")
            before, now = other.session.alone(item, params), subject.session.alone(item, params)
            found = first_difference(subject.manifest, before, now, item.tolerance, params)
            if found is not None:
                with_ = f" with {params}" if params else ""
                raise StepFailed(
                    f"answers otherwise than {version}: {item.name}{with_} {found}",
                    hint=f"a minor step gives the same answers; make this {parse_version(subject.manifest.version).major + 1}.0",
                )
    return f"answers as {version} on {spoken(len(items), 'item')}"


def _smaller(item: Item, others: list[Item]) -> float:
    """The smaller tolerance where both versions have the same example, else this one's and the others' least."""
    return min([item.tolerance, *(other.tolerance for other in others)])


def broken_promises(before: Manifest, now: Manifest) -> Iterator[str]:
    """What a minor step may not change, and did: input, output type, parameters (their ranges only widen)."""
    if now.input != before.input:
        yield f"input was {_flow(before.input)} and is {_flow(now.input)}"
    if now.output.type != before.output.type:
        yield f"output.type was {before.output.type} and is {now.output.type}"
    for name, param in before.params.items():
        if name not in now.params:
            yield f"params.{name} is gone"
        else:
            yield from _narrowed(f"params.{name}", param, now.params[name])


def _narrowed(name: str, before: Param, now: Param) -> Iterator[str]:
    if before.type != now.type:
        yield f"{name} was {before.type} and is {now.type}"
        return
    if before.default != now.default:
        yield f"{name}.default was {before.default!r} and is {now.default!r}"
    if isinstance(before, BooleanParam) or isinstance(now, BooleanParam):
        return
    if isinstance(before, StringParam) or isinstance(now, StringParam):
        assert isinstance(before, StringParam) and isinstance(now, StringParam)
        lost = [] if now.enum is None else [value for value in before.enum or () if value not in now.enum]
        if lost or (now.enum is not None and before.enum is None):
            yield f"{name}.enum no longer allows {', '.join(lost) or 'any text'}"
        if now.max_length < before.max_length:
            yield f"{name}.max_length was {before.max_length} and is {now.max_length}"
        return
    assert isinstance(before, (IntegerParam, NumberParam)) and isinstance(now, (IntegerParam, NumberParam))
    if now.minimum is not None and (before.minimum is None or now.minimum > before.minimum):
        yield f"{name}.minimum was {_bound(before.minimum)} and is {now.minimum:g}"
    if now.maximum is not None and (before.maximum is None or now.maximum < before.maximum):
        yield f"{name}.maximum was {_bound(before.maximum)} and is {now.maximum:g}"


def _bound(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _flow(spec: Any) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in spec.model_dump(mode="json").items()) + "}"
