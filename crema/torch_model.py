"""TorchModel: how a torch module runs on a device. Optional help for authors of packages. Light ring.

Pixels go to the device as the bytes they are and become floats there; the module runs channels-last, in inference mode, with
its batch norms folded into its convolutions, on request under bf16 autocast; with two streams one batch is copied while
another is computed. torch is imported inside the functions only, so a worker without torch never notices this file. It needs
nothing else of crema: a package may import it or keep a copy. It refuses to choose threads, to compile, and to know what
outputs mean.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# cudaHostRegisterPortable: pinned for every device of the process
_FOR_EVERY_DEVICE = 1
# Flags of processors that multiply bf16 themselves (x86-64, x86-64, arm64). Others do it in software, in twice float32's time.
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


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


def fold_batch_norms(net: Any) -> int:
    """Make one convolution of each convolution and the batch norm behind it, inside `net`, a module in eval mode.

    Only where what the convolution gives is used by that batch norm alone, and each of them once: torch.fx is asked how values
    flow when `net` is called with one argument. Where it cannot tell, because the way depends on values, nothing is folded; nor
    are modules with hooks, which may look at what lies between. Answers change by rounding only. Returns how many were folded.
    """
    from torch import nn  # type: ignore[import-not-found, unused-ignore]
    from torch.fx import Tracer  # type: ignore[import-not-found, unused-ignore]
    from torch.nn.utils.fusion import fuse_conv_bn_eval  # type: ignore[import-not-found, unused-ignore]

    try:
        further = list(inspect.signature(net.forward).parameters.values())[1:]
        defaults = {one.name: one.default for one in further if one.default is not one.empty}
        graph = Tracer().trace(net, concrete_args=defaults or None)
    except Exception:  # whatever the module's own code says to being called with a stand-in for a batch
        return 0
    modules = dict(net.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    touched = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    instead: dict[Any, Any] = {}
    for node in graph.nodes:
        before: Any = node.args[0] if node.op == "call_module" and node.args else None
        if getattr(before, "op", None) != "call_module" or len(before.users) > 1:
            continue
        conv, norm = modules[before.target], modules[node.target]
        kinds = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))
        if (type(conv), type(norm)) not in kinds or norm.training or norm.running_var is None:
            continue
        is_alone = calls[before.target] == calls[node.target] == 1 and before.target not in touched
        if is_alone and not any(one._forward_hooks or one._forward_pre_hooks for one in (conv, norm)):
            instead[conv], instead[norm] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for parent in modules.values():
        for name, child in list(parent._modules.items()):  # all names of a child that has several
            if child in instead:
                setattr(parent, name, instead[child])
    return len(instead) // 2


def has_bf16(cpuinfo: str | None = None) -> bool:
    """Whether this machine's processor multiplies bf16 itself; `cpuinfo` is the text of /proc/cpuinfo (read by default).

    Where there is no such file it is taken to.
    """
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text()
        except OSError:
            return True
    return not _BF16_FLAGS.isdisjoint(cpuinfo.split())


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
        fold: bool = True,
        bf16: bool = False,
        streams: int = 1,
    ) -> None:
        """`net` (a torch.nn.Module) is moved to `device` (`ctx.device`), in eval mode, with `fold` its batch norms folded
        (`fold_batch_norms`).

        With `mean` and `std`, one number per channel on the scale 0–1, batches are uint8 [n, h, w, c] and reach the module as
        float [n, c, h, w], (pixel / 255 - mean) / std. Without them they reach it as they are. `bf16` runs it under autocast:
        about twice as quick, with about three digits; compare its answers before you keep it. On a processor that has no
        instructions for it, everything stays float32 (attribute `bf16`): it would take twice as long. `streams` is on how many
        streams of its own a GPU's batches take turns; 1: on that of the thread, which with `in_flight: 2` is one per batch.
        Raises ValueError for a mean without std or the other way round, for a std with a zero, and for streams below 1.
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
        self.bf16 = bf16 and (self.device.type != "cpu" or has_bf16())
        self._scale: Any = None
        if mean is not None and std is not None:
            # (pixel / 255 - mean) / std as one multiplication and one addition, in double precision until here
            self._scale = self._per_channel([1 / (255 * s) for s in std])
            self._shift = self._per_channel([-m / s for m, s in zip(mean, std, strict=True)])
        net.eval()
        if fold:
            fold_batch_norms(net)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(self.device, memory_format=layout)
        if self.bf16:
            # autocast would make these of the float32 weights again for every batch
            for part in net.modules():
                if type(part) in (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d):
                    part.to(torch.bfloat16)
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
            torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        )
        with torch.inference_mode(), lane.work(), autocast:
            # from pinned memory the copy runs by itself; from other memory asking for that would gain nothing
            x = source.to(self.device, non_blocking=lane.is_apart and source.is_pinned())
            outputs = self.net(x if self._scale is None else self.normalise(x))
            outputs = _each_tensor(outputs, lambda tensor: self._homeward(tensor, lane))
        return Flight(outputs, lane.mark(), source)

    def normalise(self, pixels: Any) -> Any:
        """uint8 tensor [n, h, w, c] → float32 [n, c, h, w], on the device where the pixels are."""
        n, h, w, c = pixels.shape
        # whole rows at a time: with three numbers at a time a processor takes eight times as long
        scale, shift = self._scale.repeat(w), self._shift.repeat(w)
        x = pixels.reshape(n, h, w * c).to(self._torch.float32).mul_(scale).add_(shift)
        # a permuted view lies channels-last in memory as it is
        x = x.view(n, h, w, c).permute(0, 3, 1, 2)
        return x if self._channels_last else x.contiguous()

    def _per_channel(self, numbers: Sequence[float]) -> Any:
        return self._torch.tensor(numbers, dtype=self._torch.float32, device=self.device)

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
