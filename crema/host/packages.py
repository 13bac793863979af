"""Packages: which model versions lie in the packages folder. It reads folder names only, never a manifest.

A package is a folder `NAME/VERSION` that holds a `model.yaml`; everything else beside them is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crema.host.manifest import MANIFEST_NAME
from crema.names import Version, is_name, parse_version


@dataclass(frozen=True, slots=True)
class PackageFolder:
    """One version's folder. `label` is how mistakes and tables name it: `tags@3.1`."""

    name: str
    version: Version
    path: Path

    @property
    def label(self) -> str:
        """`tags@3.1`."""
        return f"{self.name}@{self.version}"

    @property
    def manifest_shown_as(self) -> str:
        """The manifest's path as mistakes show it when several packages are read: `tags/3.1/model.yaml`."""
        return f"{self.name}/{self.version}/{MANIFEST_NAME}"


@dataclass(frozen=True, slots=True)
class Packages:
    """The packages found under `root`: per model name, the versions from oldest to newest.

    `odd` are folders that hold a `model.yaml` but cannot be served, with the reason.
    """

    root: Path
    by_name: Mapping[str, tuple[PackageFolder, ...]]
    odd: tuple[tuple[Path, str], ...] = field(default=())

    @property
    def all(self) -> tuple[PackageFolder, ...]:
        """Every package, by name, then from oldest to newest."""
        return tuple(folder for name in sorted(self.by_name) for folder in self.by_name[name])

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model from oldest to newest; empty when there is no such model."""
        return tuple(str(folder.version) for folder in self.by_name.get(name, ()))

    def newest(self, name: str) -> PackageFolder | None:
        """The newest version (3.10 after 3.9)."""
        folders = self.by_name.get(name, ())
        return folders[-1] if folders else None

    def find(self, name: str, version: str) -> PackageFolder | None:
        """The folder of exactly this version."""
        return next((folder for folder in self.by_name.get(name, ()) if str(folder.version) == version), None)


def find_packages(root: Path) -> Packages:
    """Looks two levels deep under `root`. Raises FileNotFoundError or NotADirectoryError when there is no such folder."""
    found: dict[str, list[PackageFolder]] = {}
    odd: list[tuple[Path, str]] = []
    for model_dir in sorted(root.iterdir()):
        if model_dir.name.startswith((".", "_")) or not model_dir.is_dir():
            continue
        for version_dir in sorted(model_dir.iterdir()):
            if version_dir.name.startswith((".", "_")) or not (version_dir / MANIFEST_NAME).is_file():
                continue
            if not is_name(model_dir.name):
                odd.append((version_dir, "a model's name is 1 to 64 of a-z, 0-9, dot, dash and underscore"))
                continue
            try:
                version = parse_version(version_dir.name)
            except ValueError:
                odd.append((version_dir, "a version's folder is named MAJOR.MINOR, for instance 3.1"))
                continue
            found.setdefault(model_dir.name, []).append(
                PackageFolder(model_dir.name, version, version_dir.absolute())
            )
    by_name = {
        name: tuple(sorted(folders, key=lambda folder: folder.version)) for name, folders in found.items()
    }
    return Packages(root.absolute(), by_name, tuple(odd))
