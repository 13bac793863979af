"""Step `manifest`: model.yaml with all its mistakes at once, links, and the code as far as reading it tells."""

from __future__ import annotations

import os
from pathlib import Path

from check.failure import StepFailed
from check.pickles import has_code
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
    mistakes += odd_files(subject.folder)
    mistakes += refused_code(subject.folder)
    if mistakes:
        more = f"\n{len(mistakes)} mistakes in all" if len(mistakes) > 1 else ""
        raise StepFailed("\n".join(map(str, mistakes)) + more)
    manifest = subject.manifest
    count = len(manifest.examples)
    return f"{manifest.name}@{manifest.version}, {count} example{'s' if count > 1 else ''}"


def odd_files(package_dir: Path) -> list[Mistake]:
    """Links that end outside the package's folder or nowhere, what is no file, and code that nobody can read: bytecode
    without its source, archives; or that there are too many files.
    """
    root = package_dir.resolve()
    found, files = [], 0
    for folder, subfolders, names in os.walk(package_dir):
        files += len(names)
        if files > _MOST_FILES:
            return [Mistake(package_dir.name, 0, 0, "", f"the package has more than {_MOST_FILES} files")]
        for name in sorted([*subfolders, *names]):
            if (odd := _oddity(Path(folder, name), root)) is not None:
                shown = Path(folder, name).relative_to(package_dir).as_posix()
                found.append(Mistake(shown, 0, 0, "", odd[0], None, odd[1]))
    return found


def _oddity(path: Path, root: Path) -> tuple[str, str] | None:
    """What is wrong with a file or folder, and what to do about it."""
    if path.is_symlink() and not _resolved(path).is_relative_to(root):
        return "is a link that leads out of the package's folder", "put the file itself there"
    if not path.is_file() and not path.is_dir():
        return "is no file", "remove it"
    if path.suffix in (".pyc", ".pyo") and path.parent.name != "__pycache__":
        return "is bytecode without its source, which nobody can judge", "ship the .py file"
    if path.is_file() and _is_unchecked_bytecode(path):
        return "is bytecode that Python runs whatever its source says", "remove the folder __pycache__"
    if path.is_file() and has_code(path):
        return "is an archive with Python in it, which nobody can judge", "ship the .py files themselves"
    return None


def _is_unchecked_bytecode(path: Path) -> bool:
    """Whether bytecode is of the kind that is never held against its source (PEP 552: hash-based, unchecked)."""
    if path.suffix != ".pyc":
        return False
    with path.open("rb") as stream:
        return stream.read(8)[4:] == b"\x01\0\0\0"


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
