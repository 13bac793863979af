"""ClusterConfig: `cluster.yaml`, read, checked and, in `resolve_cluster`, joined with the packages it serves.

Reading collects every mistake of the file, also those that only the packages folder shows, and raises them together
as one ConfigError. It starts nothing and opens no port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field, PrivateAttr

from crema.host.config_parts import (
    Address,
    CoordinatorConfig,
    ModelConfig,
    Ports,
    PreprocessorConfig,
    Reading,
    Replicas,
    VersionConfig,
)
from crema.host.manifest import Manifest, ManifestError, load_manifest
from crema.host.manifest_parts import AsTuple
from crema.host.mistakes import Strict, did_you_mean, read_model
from crema.host.packages import PackageFolder, Packages, find_packages
from crema.host.yaml_source import Location, Mistake, SourceError, YamlSource
from crema.names import is_label, is_name, parse_version

__all__ = [
    "Address",
    "ClusterConfig",
    "ConfigError",
    "CoordinatorConfig",
    "ModelConfig",
    "Ports",
    "PreprocessorConfig",
    "Replicas",
    "ResolvedCluster",
    "ResolvedModel",
    "ResolvedVersion",
    "VersionConfig",
    "load_cluster",
    "resolve_cluster",
]

# The `try:` line per place, where the mistake itself does not know a better one.
_HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "coordinator": 'coordinator: {listen: "127.0.0.1:8000", operations: "127.0.0.1:8001", processes: 1}',
        "coordinator.listen": 'listen: "127.0.0.1:8000"',
        "coordinator.operations": 'operations: "127.0.0.1:8001"',
        "coordinator.processes": "processes: 1",
        "preprocessor": "preprocessor: {replicas: 1, workers: auto}",
        "preprocessor.replicas": "replicas: 1",
        "preprocessor.workers": "workers: auto",
        "preprocessor.ports": "ports: {channel: 7000, http: 7001}",
        "preprocessor.ports.*": "ports: {channel: 7000, http: 7001}",
        "packages": "packages: model_packages",
        "default_models": "default_models: [tags], or [] for none",
        "default_models[]": "the name of a model, without a version",
        "models": 'models: {tags: {versions: {"3.1": {replicas: 1}}}}',
        "models.*": 'tags: {versions: {"3.1": {replicas: 1}}}',
        "models.*.default": 'default: "3.1"',
        "models.*.labels": 'labels: {candidate: "3.2"}',
        "models.*.labels.*": 'candidate: "3.2"',
        "models.*.versions": 'versions: {"3.1": {replicas: 1}}, or remove the key to serve the newest',
        "models.*.versions.*": '"3.1": {replicas: 1}',
        "models.*.versions.*.replicas": "replicas: 1, or replicas: {min: 1, max: 4}",
        "models.*.versions.*.canary": "canary: 5%",
        "models.*.versions.*.ports": "ports: {channel: 7000, http: 7001}",
        "models.*.versions.*.ports.*": "ports: {channel: 7000, http: 7001}",
        "insecure": "insecure: true",
    }
)


class ConfigError(SourceError):
    """A `cluster.yaml`, or a manifest that it serves, was refused. `str()` is the block to print."""


class ClusterConfig(Strict):
    """One cluster: its listeners, its tiers, and which models it serves."""

    coordinator: CoordinatorConfig = Field(default_factory=CoordinatorConfig)
    preprocessor: PreprocessorConfig = Field(default_factory=PreprocessorConfig)
    packages: str = Field(default="model_packages", min_length=1)
    """The packages folder, relative to the file. Read `packages_dir` instead."""
    default_models: Annotated[tuple[str, ...], AsTuple] = ()
    """What a call without `models` asks for."""
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    """A model that is not named here serves its newest version."""
    insecure: bool = False
    """Allows listeners beyond loopback without keys."""

    _source: YamlSource | None = PrivateAttr(default=None)
    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file this was read from (absolute)."""
        return self._path

    @property
    def packages_dir(self) -> Path:
        """The packages folder (absolute)."""
        return self._path.parent / self.packages


@dataclass(frozen=True, slots=True)
class ResolvedVersion:
    """One version to serve, with what its package says."""

    version: str
    package_dir: Path
    manifest: Manifest
    replicas_min: int
    replicas_max: int
    canary_percent: float | None
    ports: Ports


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """One model to serve. `default` and the labels' versions are among `versions` (oldest first)."""

    name: str
    default: str
    labels: Mapping[str, str]
    versions: tuple[ResolvedVersion, ...]


@dataclass(frozen=True, slots=True)
class ResolvedCluster:
    """Everything that starting a cluster needs to know. `models` is sorted by name."""

    config: ClusterConfig
    models: Mapping[str, ResolvedModel]

    @property
    def default_models(self) -> tuple[str, ...]:
        """What a call without `models` asks for."""
        return self.config.default_models


def load_cluster(path: Path) -> ClusterConfig:
    """Reads a `cluster.yaml`. Raises ConfigError with every mistake in it, those against the packages folder included."""
    path = Path(path).absolute()
    source = YamlSource.read(path)
    data = source.data if isinstance(source.data, dict) else {}
    context = Reading(is_insecure=data.get("insecure") is True)
    also = [] if source.is_broken else list(_against_packages(source, data, path.parent))
    config = read_model(source, ClusterConfig, _HINTS, context=context, raise_as=ConfigError, also=also)
    config._path, config._source = path, source
    return config


def resolve_cluster(config: ClusterConfig) -> ResolvedCluster:
    """Reads the manifest of every version to serve. Raises ConfigError with the mistakes of all of them."""
    packages = find_packages(config.packages_dir)
    mistakes: list[Mistake] = []
    models: dict[str, ResolvedModel] = {}
    for name in sorted({*packages.by_name, *config.models}):
        wanted = config.models.get(name, ModelConfig())
        versions = []
        for version in _served(wanted.model_dump(), packages.versions(name)):
            folder = packages.find(name, version)
            if folder is None:  # the folder went away since load_cluster looked
                mistakes.append(
                    Mistake(
                        config.path.name, 0, 0, f"models.{name}", f"{name}@{version} has no folder any more"
                    )
                )
                continue
            try:
                manifest = load_manifest(folder.path, shown_as=folder.manifest_shown_as)
            except ManifestError as error:
                mistakes.extend(error.mistakes)
                continue
            versions.append(
                _resolved(folder, manifest, (wanted.versions or {}).get(version, VersionConfig()))
            )
        if versions:
            models[name] = ResolvedModel(
                name, wanted.default or _default(versions), dict(wanted.labels), tuple(versions)
            )
    if mistakes:
        raise ConfigError(mistakes)
    return ResolvedCluster(config, models)


def _resolved(folder: PackageFolder, manifest: Manifest, wanted: VersionConfig) -> ResolvedVersion:
    return ResolvedVersion(
        version=str(folder.version),
        package_dir=folder.path,
        manifest=manifest,
        replicas_min=wanted.replicas.min,
        replicas_max=wanted.replicas.max,
        canary_percent=wanted.canary_percent,
        ports=wanted.ports,
    )


def _default(versions: list[ResolvedVersion]) -> str:
    """The newest version without a canary share; the newest when all have one (which `load_cluster` refuses)."""
    promoted = [version for version in versions if version.canary_percent is None]
    return (promoted or versions)[-1].version


def _served(model: Mapping[str, Any], present: tuple[str, ...]) -> list[str]:
    """The versions that one model's section asks for, oldest first.

    Without a list of versions: the default, or else the newest that is there, and those that the labels name.
    """
    listed, labels, default = model.get("versions"), model.get("labels"), model.get("default")
    if isinstance(listed, dict):
        wanted = set(listed)
    else:
        labelled = (
            [version for version in labels.values() if isinstance(version, str)]
            if isinstance(labels, dict)
            else []
        )
        wanted = {*labelled, *([default] if isinstance(default, str) else present[-1:])}
    valid = [version for version in wanted if _is_version(version)]
    return sorted(valid, key=parse_version)


def _is_version(text: str) -> bool:
    try:
        parse_version(text)
    except ValueError:
        return False
    return True


def _against_packages(source: YamlSource, data: Mapping[str, Any], folder: Path) -> Iterator[Mistake]:
    """The mistakes that only names can show: packages, models, versions, labels and defaults that do not fit together.

    Works on the plain data, so that it finds them beside mistakes of shape.
    """
    written = data.get("packages", "model_packages")
    packages: Packages | None = None
    if isinstance(written, str) and written:
        try:
            packages = find_packages(folder / written)
        except OSError:
            what = "there is no such folder beside the file"
            yield source.mistake(("packages",), what, got=f'"{written}"', hint="packages: model_packages")
    models = data.get("models")
    models = models if isinstance(models, dict) else {}
    for name, model in models.items():
        at: Location = ("models", name)
        if not is_name(name):
            what = "a model's name is 1 to 64 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit"
            yield source.mistake(at, what, hint="tags")
            continue
        if packages is not None and name not in packages.by_name:
            yield _unknown(
                source,
                at,
                name,
                sorted(packages.by_name),
                f"there is no folder {written}/{name} with a package",
            )
            continue
        if isinstance(model, dict):
            yield from _model_mistakes(
                source, at, model, packages.versions(name) if packages is not None else None
            )
    known = sorted({*models, *(packages.by_name if packages is not None else ())})
    default_models = data.get("default_models")
    for index, name in enumerate(default_models if isinstance(default_models, list) else ()):
        place: Location = ("default_models", index)
        if isinstance(name, str) and name in default_models[:index]:
            yield source.mistake(place, "is there twice", got=f'"{name}"', hint="remove one of them")
        elif isinstance(name, str) and packages is not None and name not in known:
            yield _unknown(source, place, name, known, "there is no such model")


def _model_mistakes(
    source: YamlSource, at: Location, model: Mapping[str, Any], present: tuple[str, ...] | None
) -> Iterator[Mistake]:
    listed = model.get("versions")
    listed = listed if isinstance(listed, dict) else None
    if listed is not None and not listed:
        yield source.mistake(
            (*at, "versions"),
            "must list at least one version",
            got="an empty map",
            hint=_HINTS["models.*.versions"],
        )
    for version in listed or ():
        place = (*at, "versions", version)
        if not _is_version(version):
            yield source.mistake(
                place, "a version is MAJOR.MINOR in plain digits", got=f'"{version}"', hint='"3.1":'
            )
        elif present is not None and version not in present:
            yield _absent(source, place, version, present, key="")
    served = _served(model, present or ())
    default = model.get("default")
    if isinstance(default, str):
        yield from _version_reference(source, (*at, "default"), default, served, listed is not None, present)
        if listed is not None and isinstance(listed.get(default), dict) and "canary" in listed[default]:
            place = (*at, "versions", default, "canary")
            what = "the default version has no canary share: it gets what the others leave"
            yield source.mistake(
                place,
                what,
                got=source.written(place),
                hint="remove the line, or set default to the version before",
            )
    elif listed and all(isinstance(section, dict) and "canary" in section for section in listed.values()):
        what = "every version is a canary, so none is left for the rest"
        yield source.mistake(
            (*at, "versions"), what, hint="remove canary from the version that callers get today"
        )
    labels = model.get("labels")
    for label, version in labels.items() if isinstance(labels, dict) else ():
        place = (*at, "labels", label)
        if not is_label(label):
            what = "a label is 1 to 64 of a-z, 0-9, dash and underscore, beginning with a letter"
            yield source.mistake(place, what, hint="candidate")
        if isinstance(version, str):
            yield from _version_reference(source, place, version, served, listed is not None, present)


def _version_reference(
    source: YamlSource,
    at: Location,
    version: str,
    served: list[str],
    is_listed: bool,
    present: tuple[str, ...] | None,
) -> Iterator[Mistake]:
    key = str(at[-1])
    if not _is_version(version):
        yield source.mistake(at, "must be a version, MAJOR.MINOR", got=f'"{version}"', hint=f'{key}: "3.1"')
    elif is_listed and version not in served:
        shown = ", ".join(served) or "none"
        hint = f'{key}: "{served[-1]}"' if served else None
        yield source.mistake(at, f"must be among versions ({shown})", got=f'"{version}"', hint=hint)
    elif not is_listed and present is not None and version not in present:
        yield _absent(source, at, version, present, key=key)


def _absent(source: YamlSource, at: Location, version: str, present: tuple[str, ...], *, key: str) -> Mistake:
    what = f"there is no package of this version (there are {', '.join(present)})"
    return source.mistake(
        at, what, got=f'"{version}"', hint=f'{key}: "{present[-1]}"' if key else f'"{present[-1]}":'
    )


def _unknown(source: YamlSource, at: Location, name: str, known: list[str], what: str) -> Mistake:
    close = did_you_mean(name, known)
    return source.mistake(
        at, what, got=f'"{name}"', hint=close[0] if close else f"one of {', '.join(known)}" if known else None
    )
