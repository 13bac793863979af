"""Manifest: a package's `model.yaml`, read, checked and completed with defaults.

Reading collects every mistake of the file and raises them together as one ManifestError. It runs none of the
package's code and does not hash weights; `Manifest.wrong_weights` does, and `digest` covers every file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from crema import wire
from crema.host.manifest_parts import (
    AsTuple,
    Batching,
    Example,
    Gate,
    InputSpec,
    OutputSpec,
    Param,
    ParamName,
    Reading,
    Resources,
    Slo,
    Weights,
)
from crema.host.mistakes import Strict, read_model, refuse
from crema.host.package_paths import file_sha256, inside, package_digest
from crema.host.python_requirement import PythonRequirement
from crema.host.yaml_source import Mistake, SourceError, YamlSource
from crema.names import is_name, parse_version

__all__ = ["MANIFEST_NAME", "Manifest", "ManifestError", "load_manifest", "package_digest", "read_python"]

MANIFEST_NAME: Final = "model.yaml"

_ENTRYPOINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z", re.ASCII)

# The `try:` line per place, where the mistake itself does not know a better one.
_HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "crema": "crema: 1",
        "name": "name: tags",
        "version": 'version: "3.1"',
        "summary": "summary: Up to 30 English tags for a photo",
        "owner": "owner: vision-research@example.com",
        "entrypoint": "entrypoint: model:Tagger",
        "python": 'python: ">=3.11,<3.13"',
        "input": "input: {kind: image, size: [224, 224], fit: cover, filter: bilinear}",
        "input.kind": "kind: image",
        "input.size": "size: [224, 224]",
        "input.size[]": "size: [224, 224]",
        "input.fit": "fit: cover",
        "input.filter": "filter: bilinear",
        "input.colour": "colour: gray",
        "input.shape": "shape: [512]",
        "input.dtype": "dtype: float32",
        "output": "output: {type: tags}",
        "output.type": "type: tags",
        "output.schema": "schema: {type: object}",
        "params": "params: {max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}}",
        "params.*": "max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}",
        "params.*.type": "type: integer",
        "params.*.default": "default: 30",
        "weights": "weights: [{path: weights/model.safetensors, sha256: …}]",
        "weights[].path": "path: weights/model.safetensors",
        "weights[].sha256": "the first word that `sha256sum FILE` prints",
        "batching": "batching: {max_size: 32}",
        "gate": "gate: {max_pending: 128}",
        "slo": "slo: {p99_ms: 500}",
        "resources": "resources: {device: auto}",
        "resources.device": "device: auto",
        "watchdog_s": "watchdog_s: 30",
        "load_s": "load_s: 60",
        "workers": "workers: 1",
        "examples": "examples: [{image: examples/beach.jpg, expect: examples/beach.json, tolerance: 0.01}]",
        "examples[]": "{image: examples/beach.jpg, expect: examples/beach.json, tolerance: 0.01}",
        "examples[].image": "image: examples/beach.jpg",
        "examples[].tensor": "tensor: examples/one.npy",
        "examples[].expect": "expect: examples/beach.json",
        "examples[].tolerance": "tolerance: 0.01",
    }
)


class ManifestError(SourceError):
    """A manifest was refused. `mistakes` holds all of them; `str()` is the block to print."""


class Manifest(Strict):
    """A resolved manifest: every default filled in, every path known to stay inside `package_dir`."""

    crema: Literal[1]
    name: str
    version: str
    summary: str = Field(default="", max_length=500)
    owner: str = Field(default="", max_length=200)
    entrypoint: str
    """`module:Class`, the module inside the package's folder."""
    python: str
    """Which Pythons the package runs on, as comparisons: `>=3.11,<3.13`."""
    input: InputSpec
    output: OutputSpec
    params: dict[ParamName, Param] = Field(default_factory=dict)
    weights: Annotated[tuple[Weights, ...], AsTuple] = ()
    batching: Batching = Field(default_factory=Batching)
    gate: Gate = Field(default_factory=dict, validate_default=True)
    slo: Slo = Field(default_factory=Slo)
    resources: Resources = Field(default_factory=Resources)
    watchdog_s: float | None = Field(default=None, gt=0, le=3600)
    """A batch that takes longer means that the worker hangs; absent: learned from the batches."""
    load_s: float = Field(default=60, gt=0, le=3600)
    """Time that loading and warming up may take."""
    workers: int = Field(default=1, ge=1, le=16)
    """Worker processes per minion; more than one only for models that cannot use their cores otherwise."""
    examples: Annotated[tuple[Example, ...], AsTuple, Field(min_length=1)]

    _package_dir: Path = PrivateAttr(default=Path())

    @property
    def package_dir(self) -> Path:
        """The folder the manifest was read from (absolute)."""
        return self._package_dir

    @property
    def digest(self) -> str:
        """sha256 (hex) over all files of the package as they are now; reads them all."""
        return package_digest(self._package_dir)

    def card(self) -> dict[str, Any]:
        """What the other processes are told of the package: plain JSON values, defaults filled in, no machine paths."""
        shown = self.model_dump(mode="json", by_alias=True, exclude={"crema", "python"})
        shown["examples"] = [
            {key: value for key, value in item.items() if value is not None} for item in shown["examples"]
        ]
        return shown

    def path(self, written: str) -> Path:
        """The file that a relative path of the manifest names. Raises PathRefused when it left the folder meanwhile."""
        return inside(self._package_dir, written)

    def wrong_weights(self) -> list[Mistake]:
        """Hashes every file of weights; one Mistake for each that is not what the manifest says."""
        source = YamlSource.read(self._package_dir / MANIFEST_NAME)
        wrong = []
        for index, declared in enumerate(self.weights):
            found = file_sha256(self.path(declared.path))
            if found != declared.sha256:
                what = (
                    f"{declared.path} has another digest; fetch the file again, or write down that it changed"
                )
                place = ("weights", index, "sha256")
                wrong.append(source.mistake(place, what, got=f'"{declared.sha256}"', hint=f"sha256: {found}"))
        return wrong

    @field_validator("name")
    @classmethod
    def _name_is_the_folders(cls, name: str, info: ValidationInfo) -> str:
        if not is_name(name):
            raise refuse(
                "must be 1 to 64 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit"
            )
        if isinstance(info.context, Reading) and (folder := info.context.package_dir.parent.name) != name:
            raise refuse(
                f"must be the name of the folder above the version's, {folder}",
                hint=f"name: {folder}"
                if is_name(folder)
                else f"rename the folder {folder}, too: a name is lower-case",
            )
        return name

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_quoted(cls, version: object) -> object:
        if isinstance(version, float):
            raise refuse("must stand in quotes: without them YAML reads 3.10 as 3.1", hint='version: "{got}"')
        return version

    @field_validator("version")
    @classmethod
    def _version_is_the_folders(cls, version: str, info: ValidationInfo) -> str:
        try:
            parse_version(version)
        except ValueError:
            raise refuse("must be MAJOR.MINOR in plain digits") from None
        if isinstance(info.context, Reading) and (folder := info.context.package_dir.name) != version:
            raise refuse(f"must be the name of the package's folder, {folder}", hint=f'version: "{folder}"')
        return version

    @field_validator("entrypoint")
    @classmethod
    def _entrypoint_is_there(cls, entrypoint: str, info: ValidationInfo) -> str:
        if _ENTRYPOINT.match(entrypoint) is None:
            raise refuse("must be module:Class")
        if isinstance(info.context, Reading):
            module = Path(*entrypoint.partition(":")[0].split("."))
            root = info.context.package_dir
            if (
                not (root / module.with_suffix(".py")).is_file()
                and not (root / module / "__init__.py").is_file()
            ):
                raise refuse(f"there is no {module.as_posix()}.py in the package's folder")
        return entrypoint

    @field_validator("python")
    @classmethod
    def _python_is_a_requirement(cls, python: str) -> str:
        try:
            PythonRequirement.parse(python)
        except ValueError as error:
            raise refuse(str(error)) from None
        return python

    @field_validator("input", "output")
    @classmethod
    def _remember(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(info.context, Reading):
            if info.field_name == "input":
                info.context.input_kind = value.kind
            else:
                info.context.output_type = value.type
        return value

    @field_validator("batching")
    @classmethod
    def _batch_fits_a_frame(cls, batching: Batching, info: ValidationInfo) -> Batching:
        spec = info.data.get("input")
        if spec is not None and batching.max_size * spec.item_bytes > wire.MAX_PAYLOAD_BYTES:
            most = wire.MAX_PAYLOAD_BYTES // spec.item_bytes
            what = f"a batch travels in one frame of at most 64 MiB, which is {most} items of this input"
            raise refuse(what, at="max_size", hint=f"max_size: {most}", got=str(batching.max_size))
        return batching

    @field_validator("gate", mode="before")
    @classmethod
    def _places_follow_the_batch(cls, gate: object, info: ValidationInfo) -> object:
        if isinstance(gate, dict) and "max_pending" not in gate:
            batching = info.data.get("batching")
            return {**gate, "max_pending": 4 * (batching.max_size if batching else 1)}
        return gate


def load_manifest(package_dir: Path, *, shown_as: str = MANIFEST_NAME) -> Manifest:
    """Reads `package_dir/model.yaml`. Raises ManifestError with every mistake in it; `shown_as` is the file they name."""
    package_dir = Path(os.path.abspath(package_dir))  # noqa: PTH100 - folders are compared by name, so no `..`
    source = YamlSource.read(package_dir / MANIFEST_NAME, shown_as)
    manifest = read_model(source, Manifest, _HINTS, context=Reading(package_dir), raise_as=ManifestError)
    manifest._package_dir = package_dir
    return manifest


def read_python(package_dir: Path) -> str:
    """Only the manifest's `python`: enough to lock a package whose weights and examples are still to come.

    Raises ManifestError with what stands in the way of reading it.
    """
    source = YamlSource.read(Path(package_dir) / MANIFEST_NAME)
    python = source.data.get("python") if isinstance(source.data, dict) else None
    if source.is_broken:
        raise ManifestError(source.mistakes)
    try:
        return PythonRequirement.parse(python if isinstance(python, str) else "").text
    except ValueError as error:
        what = "is required" if python is None else str(error)
        raise ManifestError(
            [source.mistake(("python",), what, got=source.written(("python",)), hint=_HINTS["python"])]
        ) from None
