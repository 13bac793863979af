"""Items: the pixels that a package is tried on: its golden examples and the probes (all 0, all 255, seeded noise)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from crema.host.manifest import Manifest
from crema.host.manifest_parts import ImageInput, InputSpec
from crema.names import CHANNELS

NOISE_PROBES: Final = 8
_SEED: Final = 20_240_601

Decode = Callable[[bytes, ImageInput], "np.ndarray[Any, Any]"]
"""Image bytes and the wanted input → uint8 [height, width, channels], by the cluster's own preprocessor."""


class ExampleUnusable(Exception):
    """An example cannot be made into the model's input; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input: its name for people, its bytes, and the tolerance of its answers."""

    name: str
    pixels: bytes
    tolerance: float


def shape_of(spec: InputSpec) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of one item."""
    if isinstance(spec, ImageInput):
        width, height = spec.size
        return (height, width, CHANNELS[spec.colour]), np.dtype(np.uint8)
    return tuple(spec.shape), np.dtype(spec.dtype).newbyteorder("<")


def read_tensor(path: Path, shown_as: str) -> np.ndarray[Any, Any]:
    """The numbers in a `.npy` file; nothing is unpickled. Raises ExampleUnusable or OSError."""
    with path.open("rb") as stream:
        try:
            array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
        except (ValueError, EOFError, MemoryError):
            raise ExampleUnusable(f"{shown_as} is no .npy file of numbers, as numpy.save writes it") from None
    return array


def tolerance_of(manifest: Manifest) -> float:
    """The tolerance of answers that no example names: the smallest of the examples'."""
    return min(example.tolerance for example in manifest.examples)


def probe_items(manifest: Manifest) -> list[Item]:
    """All 0, all 255 and the noise images: always the same ones."""
    shape, dtype = shape_of(manifest.input)
    tolerance = tolerance_of(manifest)
    random = np.random.default_rng(_SEED)
    arrays = {"all 0": np.zeros(shape, dtype), "all 255": np.full(shape, _highest(dtype), dtype)}
    for number in range(1, NOISE_PROBES + 1):
        arrays[f"noise {number}"] = _noise(random, shape, dtype)
    return [Item(name, array.tobytes(), tolerance) for name, array in arrays.items()]


def example_items(manifest: Manifest, decode: Decode) -> list[Item]:
    """The golden examples in the manifest's order. Raises ExampleUnusable."""
    items = []
    for example in manifest.examples:
        name = example.image or example.tensor or ""
        if isinstance(manifest.input, ImageInput):
            try:
                array = decode(manifest.path(name).read_bytes(), manifest.input)
            except ExampleUnusable as error:
                raise ExampleUnusable(f"{name}: {error}") from None
        else:
            try:
                array = read_tensor(manifest.path(name), name)
            except OSError as error:
                raise ExampleUnusable(f"{name} cannot be read: {error}") from None
        items.append(Item(name, tensor_bytes(array, manifest.input, name), example.tolerance))
    return items


def tensor_bytes(array: np.ndarray[Any, Any], spec: InputSpec, name: str) -> bytes:
    """The bytes of one item. Raises ExampleUnusable when its shape or dtype is not the input's."""
    shape, dtype = shape_of(spec)
    if array.shape != shape or array.dtype.newbyteorder("<") != dtype:
        raise ExampleUnusable(
            f"{name} is {array.dtype} {list(array.shape)}; the model's input is {dtype.name} {list(shape)}"
        )
    return np.ascontiguousarray(array, dtype).tobytes()


def _highest(dtype: np.dtype[Any]) -> int:
    if dtype.kind == "b":
        return 1
    return min(255, int(np.iinfo(dtype).max)) if dtype.kind in "iu" else 255


def _noise(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if dtype.kind == "b":
        return random.integers(0, 2, shape, np.uint8).astype(dtype)
    if dtype.kind in "iu":
        return random.integers(0, _highest(dtype), shape, np.int64, endpoint=True).astype(dtype)
    return random.standard_normal(shape).astype(dtype)
