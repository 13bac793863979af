"""LoadedModel: a model of a package, its batch arrays, and how a batch runs through it. Light ring.

It holds a package's class, instantiated and loaded. Where batches come from and where outcomes go is the worker's business.
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from crema import wire
from crema.batch_array import BatchArray
from crema.device import cuda_device
from crema.names import CHANNELS
from crema.outcomes import BatchInvalid, OutcomePacker, error_outcome, model_failed_message


class Context:
    """What a model's `load` is given: where its files are, which device to use, and a logger."""

    def __init__(self, package_dir: Path, device: str) -> None:
        self.device = device
        """`"cpu"` or `"cuda:0"`."""
        self.log = logging.getLogger("model")
        self._root = package_dir.resolve()

    def path(self, written: str) -> Path:
        """A file or folder of the package, by its relative path. Raises ValueError for one outside the package and
        FileNotFoundError for one that is not there."""
        found = (self._root / written).resolve()
        if not found.is_relative_to(self._root):
            raise ValueError(f"{written} is outside the package; a model reads only its own files")
        if not found.exists():
            raise FileNotFoundError(f"{written} is not in the package")
        return self._root / written


class LoadedModel:
    """A loaded model and its batch arrays, on a GPU page-locked: one, or two where two batches may overlap."""

    def __init__(self, card: dict[str, Any], package_dir: Path, device: str) -> None:
        spec = card["input"]
        if spec["kind"] == "image":
            width, height = spec["size"]
            shape, dtype = [height, width, CHANNELS[spec.get("colour", "rgb")]], "uint8"
        else:
            shape, dtype = list(spec["shape"]), spec["dtype"]
        self.max_size: int = card["batching"]["max_size"]
        self.arrays = [BatchArray(self.max_size, shape, dtype)]
        self.item_shape = tuple(shape)
        self.dtype = dtype
        self.item_bytes = wire.tensor_bytes(shape, dtype)
        self._output = card["output"]
        self._packers = threading.local()  # a packer must not be used by two threads
        self._packer()  # an output that cannot be checked is told before anything is loaded
        self._defaults = {name: param["default"] for name, param in card["params"].items()}
        self._instance = _create(card["entrypoint"], package_dir)
        self._instance.load(Context(package_dir, device))
        self.device = cuda_device(device)
        """The GPU, where the model runs on one through torch."""
        if self.device is not None:
            if card["batching"].get("in_flight", 1) > 1:
                self.arrays.append(BatchArray(self.max_size, shape, dtype))
            for array in self.arrays:
                array.pin(self.device)
        self._predict = self._instance.predict
        self._postprocess = getattr(self._instance, "postprocess", None)

    def run(self, batch: np.ndarray[Any, Any], params: list[dict[str, Any]] | None) -> list[bytes]:
        """One packed outcome for each item of a batch, [n, *item_shape].

        Two threads may be in here at once, each with an array of its own. Raises BatchInvalid, or whatever the model raised
        for the batch as a whole.
        """
        n = len(batch)
        # an empty map stands for the defaults: the host completes all others
        params = [sent or dict(self._defaults) for sent in params or [{}] * n]
        pack = self._packer().pack
        outputs = self._predict(batch, params)
        if self._postprocess is None:
            if type(outputs) is not list:
                raise BatchInvalid(
                    f"predict must return a list of {n} outputs (got {type(outputs).__name__})"
                )
        elif not hasattr(outputs, "__len__"):
            raise BatchInvalid(
                f"predict must return {n} outputs for postprocess (got {type(outputs).__name__})"
            )
        if len(outputs) != n:
            raise BatchInvalid(
                f"predict must return {n} outputs, one per item, in order (got {len(outputs)})"
            )
        if self._postprocess is not None:
            return [self._finish(outputs[index], params[index], pack) for index in range(n)]
        return list(map(pack, outputs))

    def warm_up(self, examples: Iterable[np.ndarray[Any, Any]]) -> list[tuple[int, float]]:
        """Run the examples and zeros, and time batches of 1 and of max_size: [(n, seconds)].

        Errors of items do not matter here. Raises what the model raised when it raised for every batch.
        """
        failure: BaseException | None = None
        times: dict[int, float] = {}
        batch = self.arrays[0].array

        def try_batch(n: int) -> None:
            nonlocal failure
            started = time.monotonic()
            try:
                self.run(self.arrays[0].first(n), None)
            except BatchInvalid:
                pass
            except BaseException as error:
                failure = error
                return
            times[n] = time.monotonic() - started

        for example in examples:
            batch[0] = example
            try_batch(1)
        batch[:] = 0
        # twice: the first run of a size pays for what is set up lazily
        for n in (1, 1, self.max_size, self.max_size):
            try_batch(n)
        if failure is not None and not times:
            raise failure
        return sorted(times.items())

    def close(self) -> None:
        """The model's own farewell, if it has one."""
        close = getattr(self._instance, "close", None)
        try:
            if close is not None:
                close()
        finally:
            for array in self.arrays:
                array.release()

    def _packer(self) -> OutcomePacker:
        packer: OutcomePacker | None = getattr(self._packers, "packer", None)
        if packer is None:
            packer = self._packers.packer = OutcomePacker(self._output)
        return packer

    def _finish(self, output: Any, params: dict[str, Any], pack: Callable[[Any], bytes]) -> bytes:
        """The outcome of an item that goes through `postprocess`; what that raises fails this item only."""
        if isinstance(output, BaseException):
            return pack(output)
        assert self._postprocess is not None
        try:
            output = self._postprocess(output, params)
        except Exception as error:
            traceback.print_exc()
            return error_outcome("model_failed", model_failed_message(type(error).__name__))
        return pack(output)


def _create(entrypoint: str, package_dir: Path) -> Any:
    module_name, _, class_name = entrypoint.partition(":")
    sys.path.insert(0, str(package_dir))
    module = importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if found is None:
        raise AttributeError(f"entrypoint {entrypoint}: the module {module_name} has no {class_name}")
    return found()


def read_examples(
    card: dict[str, Any], package_dir: Path, warmup: str | None, shape: tuple[int, ...]
) -> list[Any]:
    """The tensors to warm up with: those of the .npz file `warmup` (any names; each one item, or several stacked), else
    a tensor model's own examples."""
    if warmup is not None:
        with np.load(warmup, allow_pickle=False) as archive:
            arrays = [archive[name] for name in archive.files]
    else:
        names = [example.get("tensor") for example in card["examples"]]
        arrays = [np.load(package_dir / name, allow_pickle=False) for name in names if name is not None]
    examples = []
    for array in arrays:
        if array.shape == shape:
            examples.append(array)
        elif array.shape[1:] == shape:
            examples.extend(array)
        else:
            raise ValueError(
                f"a warm-up tensor has the shape {list(array.shape)}; the model's input is {list(shape)}"
            )
    return examples
