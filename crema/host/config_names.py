"""The names in a `cluster.yaml`, held against each other and against the packages that are there.

Works on the plain data of the file and not on the validated models, so that these mistakes are reported together
with mistakes of shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crema.host.mistakes import did_you_mean
from crema.host.packages import Packages, find_packages
from crema.host.yaml_source import Location, Mistake, YamlSource
from crema.names import is_label, is_name, parse_version

DEFAULT_PACKAGES = "model_packages"


def name_mistakes(source: YamlSource, data: Mapping[str, Any], folder: Path) -> Iterator[Mistake]:
    """The models, versions, labels and defaults that do not fit together; `folder` is that of the file."""
    written = data.get("packages", DEFAULT_PACKAGES)
    packages: Packages | None = None
    if isinstance(written, str) and written:
        try:
            packages = find_packages(folder / written)
        except OSError:
            what = "there is no such folder beside the file"
            yield source.mistake(
                ("packages",), what, got=f'"{written}"', hint=f"packages: {DEFAULT_PACKAGES}"
            )
    models, default_models = data.get("models"), data.get("default_models")
    for name, model in models.items() if isinstance(models, dict) else ():
        place: Location = ("models", name)
        if not is_name(name):
            what = "a model's name is 1 to 64 of a-z, 0-9, dot, dash, underscore, beginning with a letter or digit"
            yield source.mistake(place, what, hint="tags:")
        elif packages is not None and name not in packages.by_name:
            yield _unknown(
                source, place, name, packages, f"there is no folder {written}/{name} with a package"
            )
        elif isinstance(model, dict):
            present = packages.versions(name) if packages is not None else None
            yield from _Names(source, place, model, present).mistakes()
    seen: set[str] = set()
    for index, name in enumerate(default_models if isinstance(default_models, list) else ()):
        if not isinstance(name, str):
            continue
        place = ("default_models", index)
        if name in seen:
            yield source.mistake(place, "is there twice", got=f'"{name}"', hint="remove one of them")
        elif packages is not None and name not in packages.by_name:
            yield _unknown(source, place, name, packages, "there is no such model")
        seen.add(name)


def served_versions(model: Mapping[str, Any], present: tuple[str, ...]) -> list[str]:
    """The versions that one model's section asks for, oldest first; `present` are those that have a package.

    Without a list of versions: the default, or else the newest that is there, and those that the labels name.
    """
    listed, labels, default = model.get("versions"), model.get("labels"), model.get("default")
    wanted: set[str] = set()
    if isinstance(listed, dict):
        wanted.update(listed)
    else:
        wanted.update([default] if isinstance(default, str) else present[-1:])
        labelled = labels.values() if isinstance(labels, dict) else ()
        wanted.update(version for version in labelled if isinstance(version, str))
    return sorted(filter(_is_version, wanted), key=parse_version)


@dataclass(frozen=True, slots=True)
class _Names:
    """The checks of one model's section at `place`. `present` is None when the packages are not known."""

    source: YamlSource
    place: Location
    model: Mapping[str, Any]
    present: tuple[str, ...] | None

    def mistakes(self) -> Iterator[Mistake]:
        listed = self.model.get("versions")
        if isinstance(listed, dict):
            yield from self._of_versions(listed)
        default, labels = self.model.get("default"), self.model.get("labels")
        if isinstance(default, str):
            yield from self._of_reference((*self.place, "default"), default)
        for label, version in labels.items() if isinstance(labels, dict) else ():
            place = (*self.place, "labels", label)
            if not is_label(label):
                what = "a label is 1 to 64 of a-z, 0-9, dash and underscore, beginning with a letter"
                yield self.source.mistake(place, what, hint='candidate: "3.2"')
            if isinstance(version, str):
                yield from self._of_reference(place, version)

    def _of_versions(self, listed: Mapping[str, Any]) -> Iterator[Mistake]:
        place = (*self.place, "versions")
        if not listed:
            hint = 'versions: {"3.1": {replicas: 1}}, or remove the key to serve the newest'
            yield self.source.mistake(place, "must list at least one version", got="an empty map", hint=hint)
        for version in listed:
            if not _is_version(version):
                what = "a version is MAJOR.MINOR in plain digits"
                yield self.source.mistake((*place, version), what, got=f'"{version}"', hint='"3.1":')
            elif self.present is not None and version not in self.present:
                yield self._absent((*place, version), version, self.present, '"{}":')
        canaries = [
            name for name, section in listed.items() if isinstance(section, dict) and "canary" in section
        ]
        default = self.model.get("default")
        if default in canaries:
            at = (*place, str(default), "canary")
            what = "the default version has no canary share: it gets what the others leave"
            hint = "remove the line, or set default to the version before"
            yield self.source.mistake(at, what, got=self.source.written(at), hint=hint)
        elif default is None and listed and len(canaries) == len(listed):
            what = "every version is a canary, so none is left for the rest"
            hint = "remove canary from the version that callers get today"
            yield self.source.mistake(place, what, hint=hint)

    def _of_reference(self, place: Location, version: str) -> Iterator[Mistake]:
        """`default` or a label: it must name a version that is served."""
        key = place[-1]
        if not _is_version(version):
            what = "must be a version, MAJOR.MINOR in plain digits"
            yield self.source.mistake(place, what, got=f'"{version}"', hint=f'{key}: "3.1"')
        elif isinstance(self.model.get("versions"), dict):
            served = served_versions(self.model, ())
            if version not in served:
                what = f"must be among versions ({', '.join(served) or 'none'})"
                hint = f'{key}: "{served[-1]}"' if served else None
                yield self.source.mistake(place, what, got=f'"{version}"', hint=hint)
        elif self.present is not None and version not in self.present:
            yield self._absent(place, version, self.present, f'{key}: "{{}}"')

    def _absent(self, place: Location, version: str, present: tuple[str, ...], form: str) -> Mistake:
        what = f"there is no package of this version (there are {', '.join(present)})"
        return self.source.mistake(place, what, got=f'"{version}"', hint=form.format(present[-1]))


def _is_version(text: str) -> bool:
    try:
        parse_version(text)
    except ValueError:
        return False
    return True


def _unknown(source: YamlSource, place: Location, name: str, packages: Packages, what: str) -> Mistake:
    known = sorted(packages.by_name)
    close = did_you_mean(name, known)
    hint = close[0] if close else f"one of {', '.join(known)}" if known else "put a package there first"
    return source.mistake(place, what, got=f'"{name}"', hint=hint)
