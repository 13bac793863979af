"""Scaffold: a new package, written from the files in `scaffolds/`: it passes `crema check` as it is."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final, Literal

from crema.host.package_paths import file_sha256
from crema.names import is_name, parse_version

Kind = Literal["numpy", "torch", "onnx"]
KINDS: Final[tuple[Kind, ...]] = ("numpy", "torch", "onnx")

_SCAFFOLDS: Final = Path(__file__).with_name("scaffolds")
# the files whose braces are filled in
_TEMPLATES: Final = ("model.yaml", "CHANGES.md", "README.md")


class ScaffoldRefused(Exception):
    """No package was written; the text says why and what to do."""


def write_scaffold(packages: Path, name: str, version: str, kind: Kind) -> Path:
    """Writes `packages/name/version`, whole or not at all, and returns it. Raises ScaffoldRefused or OSError."""
    if not is_name(name):
        raise ScaffoldRefused(
            f"{name!r} is no name: 1 to 64 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit"
        )
    try:
        parsed = parse_version(version)
    except ValueError as error:
        raise ScaffoldRefused(str(error)) from None
    folder = packages / name / version
    if folder.exists():
        raise ScaffoldRefused(f"{folder} is there already; choose another name or version")
    same_major = [path.name for path in (packages / name).glob(f"{parsed.major}.*") if path.is_dir()]
    if same_major:
        raise ScaffoldRefused(
            f"a minor version answers as {same_major[0]} does: copy {packages / name / same_major[0]} to {version} instead"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as beside:
        made = Path(beside, version)
        shutil.copytree(_SCAFFOLDS / "shared", made, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(
            _SCAFFOLDS / kind, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        (weights,) = (made / "weights").iterdir()
        filled = {
            "name": name,
            "version": version,
            "weights": weights.relative_to(made).as_posix(),
            "sha256": file_sha256(weights),
        }
        for template in _TEMPLATES:
            path = made / template
            path.write_text(path.read_text(encoding="utf-8").format(**filled), encoding="utf-8")
        made.rename(folder)
    return folder
