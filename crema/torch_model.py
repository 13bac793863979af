"""TorchModel: how a torch module runs on a device. Optional help for authors of packages. Light ring.

Pixels go to the device as the bytes they are and become floats there; the module runs channels-last, in inference mode, on
request under bf16 autocast; with two streams one batch is copied while another is computed. torch is imported inside the
functions only, so a worker without torch never notices this file. It needs nothing else of crema: a package may import it or
keep a copy. It refuses to choose threads, to compile, and to know what outputs mean.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# cudaHostRegisterPortable: pinned for every device of the process
_FOR_EVERY_DEVICE = 1


class PageLock:
    """Memory that the device may read without the processor's help, until `release`."""

    def __init__(self, runtime: Any, address: int) -> None:
        self._runtime = runtime
        self._address: int | None = address

    def release(self) -> None:
        """Let go; safe to repeat. To be called before the memory is freed."""
        address, self._address = self._address, None
        if address is not None:
            self._runtime.cudaHostUnregister(address)


def page_lock(memory: Array, runtime: Any = None) -> PageLock:
    """Pin the pages of a contiguous array, so that copies from it to a device need not wait.

    `runtime` is the CUDA runtime (default: torch's). Raises ValueError for an array that is empty or not contiguous, and
    RuntimeError when the system does not pin it or there is no CUDA: the memory is then as usable as before, only slower.
    """
    if not memory.nbytes or not memory.flags.c_contiguous:
        raise ValueError("only a contiguous array that is not empty can be page-locked")
    if runtime is None:
        import torch  # type: ignore[import-not-found, unused-ignore]

        runtime = torch.cuda.cudart()
    address = memory.ctypes.data
    status = int(runtime.cudaHostRegister(address, memory.nbytes, _FOR_EVERY_DEVICE))
    if status:
        raise RuntimeError(
            f"{memory.nbytes} bytes were not page-locked (cudaError {status}); copies to the device go without it,"
            " more slowly: see `ulimit -l`, or lower batching.max_size"
        )
    return PageLock(runtime, address)


class Flight:
    """A batch on its way through the device."""

    def __init__(self, outputs: Any, arrived: Callable[[], object], held: Any) -> None:
        self._outputs = outputs
        self._arrived = arrived
        self._held = held  # the source of a copy must live until the copy is done

    def result(self) -> Any:
        """Wait, and return what the module returned, every tensor of it as a numpy array (bf16 and fp16 as float32).

        Raises what the device raised.
        """
        self._arrived()
        self._held = None
        return _each_tensor(self._outputs, lambda tensor: tensor.numpy())


class TorchModel:
    """A module on its device, called with batches."""

    def __init__(
        self,
        net: Any,
        device: str,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels_last: bool = True,
        bf16: bool = False,
        streams: int = 1,
    ) -> None:
        """`net` (a torch.nn.Module) is moved to `device` (`ctx.device`), in eval mode.

        With `mean` and `std`, one number per channel on the scale 0–1, batches are uint8 [n, h, w, c] and reach the module as
        float [n, c, h, w], (pixel / 255 - mean) / std. Without them they reach it as they are. `bf16` runs it under autocast:
        about twice as quick, with about three digits; compare its answers before you keep it. `streams` is on how many streams of
        its own a GPU's batches take turns; 1: on that of the thread, which with `in_flight: 2` is one per batch. Raises ValueError for a mean without std or the other way round, for a std with a zero, and
        for streams below 1.
        """
        import torch

        if (mean is None) != (std is None):
            raise ValueError("mean and std belong together: give both, or neither for a batch as it is")
        if std is not None and (len(std) != len(mean or ()) or not all(std)):
            raise ValueError("std must have one number per channel, as mean has, and none may be 0")
        if streams < 1:
            raise ValueError("streams must be at least 1")
        self._torch = torch
        self.device = torch.device(device)
        self._channels_last = channels_last
        self._bf16 = bf16
        self._scale: Any = None
        if mean is not None and std is not None:
            # (pixel / 255 - mean) / std as one multiplication and one addition, in double precision until here
            self._scale = self._per_channel([1 / (255 * s) for s in std])
            self._shift = self._per_channel([-m / s for m, s in zip(mean, std, strict=True)])
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.eval().to(self.device, memory_format=layout)
        lanes: list[_Lane] = [_Lane()]
        if self.device.type == "cuda":
            lanes = [_ThreadLane(torch, self.device)]
            if streams > 1:
                lanes = [_StreamLane(torch, self.device) for _ in range(streams)]
            # the weights were copied on the default stream, which the others do not wait for
            torch.cuda.synchronize(self.device)
        self._lanes = itertools.cycle(lanes)

    def __call__(self, batch: Array) -> Any:
        """What the module returns for the batch, as numpy arrays."""
        return self.start(batch).result()

    def start(self, batch: Array) -> Flight:
        """Begin with a batch. On a GPU this returns before the work is done, and `batch` must stay as it is until
        `Flight.result`; on a CPU it returns afterwards. A module that returns its input gives back the batch's own memory."""
        torch = self._torch
        # torch warns about memory that it could write to and must not
        source = torch.from_numpy(batch if batch.flags.writeable else batch.copy())
        lane = next(self._lanes)
        autocast = (
            torch.autocast(self.device.type, dtype=torch.bfloat16) if self._bf16 else contextlib.nullcontext()
        )
        with torch.inference_mode(), lane.work(), autocast:
            # from pinned memory the copy runs by itself; from other memory asking for that would gain nothing
            x = source.to(self.device, non_blocking=lane.is_apart and source.is_pinned())
            outputs = self.net(x if self._scale is None else self.normalise(x))
            outputs = _each_tensor(outputs, lambda tensor: self._homeward(tensor, lane))
        return Flight(outputs, lane.mark(), source)

    def normalise(self, pixels: Any) -> Any:
        """uint8 tensor [n, h, w, c] → float32 [n, c, h, w], on the device where the pixels are."""
        # a permuted view already lies channels-last in memory, and the copy keeps it so
        x = pixels.permute(0, 3, 1, 2).to(self._torch.float32, copy=True)
        if not self._channels_last:
            x = x.contiguous()
        return x.mul_(self._scale).add_(self._shift)

    def _per_channel(self, numbers: Sequence[float]) -> Any:
        return self._torch.tensor(numbers, dtype=self._torch.float32, device=self.device).view(1, -1, 1, 1)

    def _homeward(self, tensor: Any, lane: _Lane) -> Any:
        if tensor.dtype in (self._torch.bfloat16, self._torch.float16):  # numpy knows no bf16
            tensor = tensor.float()
        # torch takes pinned memory for the answer of a copy that nobody waits for
        return tensor.to("cpu", non_blocking=lane.is_apart)


class _Lane:
    """Where a batch's work is put: here, at once."""

    is_apart = False

    def work(self) -> Any:
        """The context in which work goes to this lane."""
        return contextlib.nullcontext()

    def mark(self) -> Callable[[], object]:
        """A function that waits for everything that was put here so far."""
        return lambda: None


class _ThreadLane(_Lane):
    """The stream of a CUDA device that the calling thread uses: its work runs in order, beside that of other streams."""

    is_apart = True

    def __init__(self, torch: Any, device: Any) -> None:
        self._cuda = torch.cuda
        self._device = device

    def stream(self) -> Any:
        """The stream."""
        return self._cuda.current_stream(self._device)

    def mark(self) -> Callable[[], object]:
        event = self._cuda.Event(blocking=True)  # asleep while waiting: the cores are the host's
        event.record(self.stream())
        wait: Callable[[], object] = event.synchronize
        return wait


class _StreamLane(_ThreadLane):
    """A stream of its own, whichever thread calls."""

    def __init__(self, torch: Any, device: Any) -> None:
        super().__init__(torch, device)
        self._stream = torch.cuda.Stream(device)

    def stream(self) -> Any:
        return self._stream

    def work(self) -> Any:
        return self._cuda.stream(self._stream)


def _each_tensor(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with every tensor in it, through lists, tuples and dicts, replaced by `change` of it."""
    if hasattr(value, "is_pinned"):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_tensor(one, change) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_each_tensor(one, change) for one in value))
    if isinstance(value, list | tuple):
        return type(value)(_each_tensor(one, change) for one in value)
    return value
