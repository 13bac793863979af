"""ClusterConfig: `cluster.yaml`, read, checked and, in `resolve_cluster`, joined with the packages it serves.

Reading collects every mistake of the file, also those that only the packages folder shows, and raises them together
as one ConfigError. It starts nothing and opens no port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field, PrivateAttr

from crema.host.config_autoscaling import HINTS as AUTOSCALING_HINTS
from crema.host.config_autoscaling import AutoscalingConfig
from crema.host.config_fetch import FetchConfig
from crema.host.config_keys import keys_given
from crema.host.config_names import DEFAULT_PACKAGES, name_mistakes, served_versions
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
from crema.host.config_releases import HINTS as RELEASES_HINTS
from crema.host.config_releases import ReleasesConfig
from crema.host.manifest import Manifest, ManifestError, load_manifest
from crema.host.manifest_parts import AsTuple
from crema.host.mistakes import Strict, read_model
from crema.host.packages import PackageFolder, Packages, find_packages
from crema.host.yaml_source import Mistake, SourceError, YamlSource

__all__ = [
    "Address",
    "AutoscalingConfig",
    "ClusterConfig",
    "ConfigError",
    "CoordinatorConfig",
    "FetchConfig",
    "ModelConfig",
    "Ports",
    "PreprocessorConfig",
    "ReleasesConfig",
    "Replicas",
    "ResolvedCluster",
    "ResolvedModel",
    "ResolvedVersion",
    "VersionConfig",
    "load_cluster",
    "packages_dir_of",
    "resolve_cluster",
    "resolve_version",
]

# The `try:` line per place, where the mistake itself does not know a better one.
_HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "coordinator": 'coordinator: {listen: "127.0.0.1:8000", operations: "127.0.0.1:8001", processes: 1}',
        "coordinator.listen": 'listen: "127.0.0.1:8000"',
        "coordinator.operations": 'operations: "127.0.0.1:8001"',
        "coordinator.processes": "processes: 1",
        "coordinator.log_sample": "log_sample: 0.1, or remove the line to log every request",
        "coordinator.keys": "keys: .crema/keys.json",
        "coordinator.hosts": "hosts: [photos.example.com]",
        "coordinator.hosts[]": "hosts: [photos.example.com]",
        "preprocessor": "preprocessor: {replicas: 1, workers: auto}",
        "preprocessor.replicas": "replicas: 1, or replicas: {min: 1, max: 4}",
        "preprocessor.workers": "workers: auto",
        "preprocessor.formats": "formats: [heic]",
        "preprocessor.formats[]": "one of avif, bmp, heic, tiff",
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
        "fetch": "fetch: {enabled: true, hosts: [images.example.com]}",
        "fetch.enabled": "enabled: true",
        "fetch.hosts": "hosts: [images.example.com]",
        "fetch.hosts[]": "images.example.com, or store.internal:9000",
        "fetch.allow_private": "allow_private: [10.1.0.0/16]",
        "fetch.allow_private[]": "10.1.0.0/16",
        **RELEASES_HINTS,
        **AUTOSCALING_HINTS,
    }
)


class ConfigError(SourceError):
    """A `cluster.yaml`, or a manifest that it serves, was refused. `str()` is the block to print."""


class ClusterConfig(Strict):
    """One cluster: its listeners, its tiers, and which models it serves."""

    coordinator: CoordinatorConfig = Field(default_factory=CoordinatorConfig)
    preprocessor: PreprocessorConfig = Field(default_factory=PreprocessorConfig)
    packages: str = Field(default=DEFAULT_PACKAGES, min_length=1)
    """The packages folder, relative to the file. Read `packages_dir` instead."""
    default_models: Annotated[tuple[str, ...], AsTuple] = ()
    """What a call without `models` asks for."""
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    """A model that is not named here serves its newest version."""
    insecure: bool = False
    """Allows listeners beyond loopback without keys."""
    fetch: FetchConfig = Field(default_factory=FetchConfig)
    autoscaling: AutoscalingConfig = Field(default_factory=AutoscalingConfig)
    """When replicas are started and drained, where `min` and `max` differ."""
    releases: ReleasesConfig = Field(default_factory=ReleasesConfig)
    """How new versions come in while the cluster runs."""

    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file this was read from (absolute)."""
        return self._path

    @property
    def packages_dir(self) -> Path:
        """The packages folder (absolute)."""
        return self._path.parent / self.packages

    @property
    def keys_file(self) -> Path:
        """The file of API keys (absolute); it need not be there."""
        return self._path.parent / self.coordinator.keys


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
class RefusedPackage:
    """A package that the file does not name and whose manifest is wrong: reported, and in nobody's way."""

    name: str
    version: str
    mistakes: tuple[Mistake, ...]

    @property
    def label(self) -> str:
        """`tags@3.1`."""
        return f"{self.name}@{self.version}"

    @property
    def problem(self) -> str:
        """The first mistake, in one line."""
        more = f" (and {len(self.mistakes) - 1} more)" if len(self.mistakes) > 1 else ""
        return str(self.mistakes[0]).partition("\n")[0] + more


@dataclass(frozen=True, slots=True)
class ResolvedCluster:
    """Everything that starting a cluster needs to know. `models` is sorted by name."""

    config: ClusterConfig
    models: Mapping[str, ResolvedModel]
    refused: tuple[RefusedPackage, ...] = ()

    @property
    def default_models(self) -> tuple[str, ...]:
        """What a call without `models` asks for."""
        return self.config.default_models


def load_cluster(path: Path) -> ClusterConfig:
    """Reads a `cluster.yaml`. Raises ConfigError with every mistake in it, those against the packages folder included."""
    path = Path(path).absolute()
    source = YamlSource.read(path)
    data = source.data if isinstance(source.data, dict) else {}
    also = [] if source.is_broken else list(name_mistakes(source, data, path.parent))
    has_keys, wrong_keys = keys_given(source, data, path.parent)
    also += wrong_keys
    context = Reading(is_insecure=data.get("insecure") is True, has_keys=has_keys)
    config = read_model(source, ClusterConfig, _HINTS, context=context, raise_as=ConfigError, also=also)
    config._path = path
    return config


def packages_dir_of(path: Path) -> Path:
    """The packages folder (absolute) of a `cluster.yaml`, whatever else is wrong with it.

    Raises ConfigError when it cannot be told.
    """
    path = Path(path).absolute()
    source = YamlSource.read(path)
    data = source.data if isinstance(source.data, dict) else {}
    named = data.get("packages", DEFAULT_PACKAGES)
    if source.is_broken or not isinstance(named, str) or not named:
        return load_cluster(path).packages_dir
    return path.parent / named


def resolve_cluster(config: ClusterConfig) -> ResolvedCluster:
    """Reads the manifest of every version to serve.

    Raises ConfigError with the mistakes of all versions that the file names. A model that merely lies in the packages
    folder serves its newest version whose manifest is good; what is newer and wrong is `refused`.
    """
    packages = find_packages(config.packages_dir)
    mistakes: list[Mistake] = []
    models: dict[str, ResolvedModel] = {}
    refused: list[RefusedPackage] = []
    for name in sorted({*packages.by_name, *config.models}):
        if name not in config.models and name not in config.default_models:
            newest = _newest_good(packages, name, refused)
            if newest is not None:
                models[name] = ResolvedModel(name, newest.version, {}, (newest,))
            continue
        wanted = config.models.get(name, ModelConfig())
        versions = []
        for version in served_versions(wanted.model_dump(), packages.versions(name)):
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
    return ResolvedCluster(config, models, tuple(refused))


def resolve_version(config: ClusterConfig, folder: PackageFolder) -> ResolvedVersion:
    """One version of the packages folder, as the file wants it served (by the defaults where it names it not).

    Raises ManifestError.
    """
    manifest = load_manifest(folder.path, shown_as=folder.manifest_shown_as)
    model = config.models.get(folder.name, ModelConfig())
    return _resolved(folder, manifest, (model.versions or {}).get(str(folder.version), VersionConfig()))


def _newest_good(packages: Packages, name: str, refused: list[RefusedPackage]) -> ResolvedVersion | None:
    """The newest version of an unnamed model that can be read; those newer that cannot go to `refused`."""
    for folder in reversed(packages.by_name[name]):
        try:
            manifest = load_manifest(folder.path, shown_as=folder.manifest_shown_as)
        except ManifestError as error:
            refused.append(RefusedPackage(name, str(folder.version), tuple(error.mistakes)))
        else:
            return _resolved(folder, manifest, VersionConfig())
    return None


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
