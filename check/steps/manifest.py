"""Step `manifest`: model.yaml with all its mistakes at once, links, and the code as far as reading it tells."""

from __future__ import annotations

import os
from pathlib import Path

from check.failure import StepFailed
from check.source_code import refused_code
from check.subject import Subject
from crema.host.manifest import MANIFEST_NAME, Manifest, ManifestError, load_manifest
from crema.host.yaml_source import Mistake, YamlSource
from crema.json_schema import SchemaRefused, compile_schema

_MOST_FILES = 20_000


def check_manifest(subject: Subject) -> str:
    """The manifest is valid, every path stays inside, and the code imports neither pickles nor crema."""
    mistakes: list[Mistake] = []
    try:
        subject.manifest = load_manifest(subject.folder)
        mistakes += _schema_mistakes(subject.manifest)
    except ManifestError as error:
        mistakes += error.mistakes
    mistakes += links_out(subject.folder)
    mistakes += refused_code(subject.folder)
    if mistakes:
        more = f"\n{len(mistakes)} mistakes in all" if len(mistakes) > 1 else ""
        raise StepFailed("\n".join(map(str, mistakes)) + more)
    manifest = subject.manifest
    count = len(manifest.examples)
    return f"{manifest.name}@{manifest.version}, {count} example{'s' if count > 1 else ''}"


def links_out(package_dir: Path) -> list[Mistake]:
    """Every link of the package that ends outside its folder, and a package of too many files."""
    root = package_dir.resolve()
    found, files = [], 0
    for folder, subfolders, names in os.walk(package_dir):
        files += len(names)
        if files > _MOST_FILES:
            return [Mistake(package_dir.name, 0, 0, "", f"the package has more than {_MOST_FILES} files")]
        for name in sorted([*subfolders, *names]):
            path = Path(folder, name)
            if path.is_symlink() and not _resolved(path).is_relative_to(root):
                shown = path.relative_to(package_dir).as_posix()
                what = "is a link that leads out of the package's folder"
                found.append(Mistake(shown, 0, 0, "", what, None, "put the file itself there"))
    return found


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return Path("/")


def _schema_mistakes(manifest: Manifest) -> list[Mistake]:
    """A JSON Schema that the worker would refuse."""
    schema = getattr(manifest.output, "json_schema", None)
    if schema is None:
        return []
    try:
        compile_schema(schema)
    except SchemaRefused as error:
        source = YamlSource.read(manifest.package_dir / MANIFEST_NAME)
        return [source.mistake(("output", "schema"), str(error))]
    return []
