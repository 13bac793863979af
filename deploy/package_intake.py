"""Package intake: which package a release means, and how one that lies elsewhere comes into the packages folder.

A version's files never change: one that is there already with other files is refused.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from crema.host.manifest import MANIFEST_NAME
from crema.host.package_paths import package_digest
from crema.host.packages import PackageFolder, find_packages
from crema.names import is_name, parse_version
from deploy.pointers import ReleaseRefused

_CACHES = shutil.ignore_patterns(
    "__pycache__", ".git", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache"
)


def meant(package: str, packages_dir: Path) -> Path:
    """The folder that `package` (a path, NAME@VERSION, or NAME: its newest) names. Raises ReleaseRefused."""
    path = Path(package)
    if (path / MANIFEST_NAME).is_file():
        return path
    name, at, version = package.partition("@")
    if is_name(name):
        try:
            packages = find_packages(packages_dir)
        except OSError as error:
            raise ReleaseRefused(f"{packages_dir} cannot be read: {error.strerror}") from None
        found = packages.find(name, version) if at else packages.newest(name)
        if found is not None:
            return found.path
    raise ReleaseRefused(
        f"{package} is neither a folder with a {MANIFEST_NAME} nor a package of {packages_dir}\n"
        "  try: crema release model_packages/NAME/VERSION"
    )


def package_folder(path: Path) -> PackageFolder:
    """The package that `path` (…/NAME/VERSION) is, by its folder names. Raises ReleaseRefused."""
    path = path.absolute()
    path = path.parent.resolve() / path.name
    try:
        version = parse_version(path.name)
    except ValueError:
        version = None
    if version is None or not is_name(path.parent.name):
        raise ReleaseRefused(
            f"{path} is not called as a package is\n  try: name its folder NAME/VERSION, for instance tags/3.2"
        )
    return PackageFolder(path.parent.name, version, path)


def take_in(path: Path, packages_dir: Path) -> PackageFolder:
    """The package at `path`, copied to the packages folder when it lies elsewhere. It is there whole, or not at all.

    Raises ReleaseRefused, or OSError.
    """
    folder = package_folder(path)
    target = packages_dir.resolve() / folder.name / str(folder.version)
    if folder.path != target:
        if target.exists():
            if package_digest(target) != package_digest(folder.path):
                raise ReleaseRefused(
                    f"{folder.label} is in {packages_dir} already, with other files: a version never changes\n"
                    "  try: raise the version in its folder's name and its manifest"
                )
        else:
            _copy(folder.path, target)
    return PackageFolder(
        folder.name, folder.version, packages_dir.absolute() / folder.name / str(folder.version)
    )


def _copy(source: Path, target: Path) -> None:
    # a name that begins with a dot is no package: nobody takes the half of it for one
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(source, new, symlinks=True, ignore=_CACHES)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
