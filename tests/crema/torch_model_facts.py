"""What `crema.torch_model` does, observed with a real torch and printed as JSON: run by the Python of a model's environment.

PYTHON torch_model_facts.py DEVICE      (PYTHONPATH: a folder with crema's light ring)
"""

import contextlib
import itertools
import json
import sys
import types
import warnings

import numpy as np
import torch

from crema import torch_model
from crema.batch_array import BatchArray
from crema.device import cuda_device
from crema.overlap import Overlap
from crema.torch_model import TorchModel, _StreamLane, fold_batch_norms, page_lock

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)


class Seeing(torch.nn.Module):
    """Returns what it was given and remembers how."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 2, 3)

    def forward(self, x):
        self.shape, self.inference = list(x.shape), torch.is_inference_mode_enabled()
        self.channels_last = x.is_contiguous(memory_format=torch.channels_last)
        self.contiguous = x.is_contiguous()
        self.convolved = self.layer(x)
        return x


def refused(**options):
    try:
        TorchModel(Seeing(), "cpu", **options)
    except ValueError as error:
        return str(error)
    return None


class FakeCuda:
    """Streams and events that only write down what is asked of them."""

    def __init__(self):
        self.log = []
        self.names = itertools.count()
        self.torch = types.SimpleNamespace(cuda=self)

    def Stream(self, device):  # noqa: N802 - torch's name
        return next(self.names)

    @contextlib.contextmanager
    def stream(self, which):
        self.log.append(f"into {which}")
        yield
        self.log.append(f"out of {which}")

    def Event(self, blocking):  # noqa: N802 - torch's name
        on = []
        return types.SimpleNamespace(
            record=lambda which: (on.append(which), self.log.append(f"mark {which}")),
            synchronize=lambda: self.log.append(f"wait for {on[0]}"),
        )


def streams_in_turn():
    cuda = FakeCuda()
    model = TorchModel(torch.nn.Identity(), "cpu")
    model._lanes = itertools.cycle([_StreamLane(cuda.torch, None) for _ in range(2)])
    first, second = model.start(PIXELS[:1]), model.start(PIXELS[1:2])
    second.result()
    right = np.array_equal(first.result(), PIXELS[:1])
    return {"log": cuda.log, "right": right}


def overlapped(device):
    """Two batches at once in threads of their own, as a worker with `in_flight: 2` runs them."""
    net = torch.nn.Linear(64, 64)
    model = TorchModel(net, device.name)
    arrays = [BatchArray(32, [64], "float32") for _ in range(2)]
    for array in arrays:
        array.pin(device)
    overlap, seen, results, mistakes = Overlap(arrays, device), set(), [], []

    def work_on(array, number):
        def work():
            seen.add(torch.cuda.current_stream().cuda_stream)
            try:
                found = model(array.first(32))
            except Exception as error:
                mistakes.append(str(error))
            else:
                expected = net(torch.full((32, 64), float(number), device=device.name)).detach().cpu().numpy()
                results.append(bool(np.allclose(found, expected, atol=1e-2)))
            return lambda: None

        return work

    for number in range(20):
        array = overlap.take_array()
        array.array[:] = number
        overlap.put(array, work_on(array, number))
    overlap.close()
    memory = device.memory()
    for array in arrays:
        array.release()
    return {"streams": len(seen), "right": results == [True] * 20, "mistakes": mistakes, "memory": memory}


class Pair(torch.nn.Module):
    """A convolution and a batch norm that has seen something."""

    def __init__(self, inputs=3):
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, 4, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(4)
        with torch.no_grad():
            for tensor in (self.norm.running_mean, self.norm.weight, self.norm.bias):
                tensor.copy_(torch.randn(4))
            self.norm.running_var.copy_(torch.rand(4) + 0.5)

    def forward(self, x):
        return self.norm(self.conv(x))


class Shortcut(Pair):
    """The batch norm is not the only one that uses what the convolution gives."""

    def forward(self, x):
        between = self.conv(x)
        return self.norm(between) + between


class Twice(Pair):
    """One convolution for two."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv(x)


class Weighed(Pair):
    """Uses the convolution's weights besides."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv.weight.sum()


class Deciding(Pair):
    """Looks at values before it decides what to do."""

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else self.conv(x)


class Optional(Pair):
    """Takes another way where it is given more than a batch."""

    def forward(self, x, mask=None):
        between = self.conv(x)
        return self.norm(between) if mask is None else between


class Renamed(Pair):
    """Has its convolution under two names."""

    def __init__(self):
        super().__init__()
        self.again = self.conv

    def forward(self, x):
        return self.norm(self.again(x))


class Hooked(Pair):
    """Somebody looks at what the convolution gives."""

    def __init__(self):
        super().__init__()
        self.conv.register_forward_hook(lambda module, given, result: None)


class Deep(torch.nn.Module):
    """Pairs within a list and a sequence."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.rest = torch.nn.ModuleList([Pair(4), Pair(4)])

    def forward(self, x):
        x = self.first(x)
        for one in self.rest:
            x = x + one(x)
        return x


def folded():
    """How many are folded of each kind of net, and by how much that changes what it gives."""
    torch.manual_seed(0)
    x, found = torch.rand(2, 3, 8, 8), {}
    for kind in (Pair, Shortcut, Twice, Weighed, Deciding, Optional, Renamed, Hooked, Deep):
        net = kind().eval()
        with torch.inference_mode():
            before = net(x)
            count = fold_batch_norms(net)
            found[kind.__name__] = [count, float((net(x) - before).abs().max())]
    net = Pair()
    TorchModel(net, "cpu", fold=False)
    found["asked not to"] = [int(type(net.norm) is torch.nn.Identity), 0.0]
    net = Pair()
    TorchModel(net, "cpu")
    found["by itself"] = [int(type(net.norm) is torch.nn.Identity), 0.0]
    return found


def with_bf16(device):
    """The same network under bf16 as TorchModel has it and under autocast alone; and on a processor that cannot do it."""
    torch.manual_seed(0)
    net = Deep().eval()
    x = (
        torch.from_numpy(PIXELS)
        .permute(0, 3, 1, 2)
        .float()
        .to(device)
        .contiguous(memory_format=torch.channels_last)
    )
    fold_batch_norms(net)
    net = net.to(device, memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        expected = net(x).float().cpu().numpy()
    model = TorchModel(net, device, mean=[0] * 3, std=[1 / 255] * 3, bf16=True)
    facts = {"same": bool(np.array_equal(model(PIXELS), expected)), "weights": str(net.first[0].weight.dtype)}
    torch_model.has_bf16 = lambda: False
    small = Seeing()
    without = TorchModel(small, device, mean=MEAN, std=STD, bf16=True)
    without(PIXELS)
    return {**facts, "unable": [without.bf16, str(small.convolved.dtype)]}


def main(device):
    torch_model.has_bf16 = lambda: True  # whatever processor this is
    if device != "cpu" and not torch.cuda.is_available():
        return {"cuda": False}
    expected = (PIXELS.transpose(0, 3, 1, 2) / 255 - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(
        STD, (1, 3, 1, 1)
    )
    net = Seeing()
    model = TorchModel(net, device, mean=MEAN, std=STD)
    seen = model(PIXELS)
    facts = {
        "cuda": True,
        "off": float(np.abs(seen - expected).max()),
        "type": str(seen.dtype),
        "inference": net.inference,
        "training": net.training,
        "channels_last": net.channels_last,
        "weights_channels_last": net.layer.weight.is_contiguous(memory_format=torch.channels_last),
    }
    plain = Seeing()
    again = TorchModel(plain, device, mean=MEAN, std=STD, channels_last=False)(PIXELS)
    facts["plain_contiguous"], facts["plain_same"] = plain.contiguous, bool(np.array_equal(again, seen))
    as_is = TorchModel(torch.nn.Identity(), device)(PIXELS)
    facts["as_is"] = bool(np.array_equal(as_is, PIXELS)) and as_is.dtype == np.uint8
    small = Seeing()
    facts["bf16_result"] = str(TorchModel(small.layer, device, mean=MEAN, std=STD, bf16=True)(PIXELS).dtype)
    TorchModel(small, device, mean=MEAN, std=STD, bf16=True)(PIXELS)
    facts["bf16_inside"] = str(small.convolved.dtype)

    class Nested(torch.nn.Module):
        def forward(self, x):
            return {"both": (x, [x + 1]), "name": "kept"}

    nested = TorchModel(Nested(), device)(PIXELS)
    facts["nested"] = (
        bool(np.array_equal(nested["both"][1][0], PIXELS + np.uint8(1))) and nested["name"] == "kept"
    )
    frozen = PIXELS.copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts["read_only"] = bool(np.array_equal(TorchModel(torch.nn.Identity(), device)(frozen), PIXELS))
    facts["mean_alone"] = refused(mean=MEAN)
    facts["zero_std"] = refused(mean=MEAN, std=[1, 0, 1])
    facts["no_streams"] = refused(streams=0)
    facts["in_turn"] = streams_in_turn()
    facts["folded"] = folded()
    facts["bf16"] = with_bf16(device)
    facts["has_device"] = cuda_device("cuda:0") is not None
    if device != "cpu":
        batch = np.zeros((8, 224, 224, 3), np.uint8)
        pages = page_lock(batch)
        facts["pinned"] = torch.from_numpy(batch[:3]).is_pinned()
        two = TorchModel(torch.nn.Identity(), device, streams=2)
        batch[0], batch[1] = 1, 2
        flights = [two.start(batch[place : place + 1]) for place in range(2)]
        facts["two_streams"] = [int(flight.result().max()) for flight in flights]
        pages.release()
        facts["overlapped"] = overlapped(cuda_device(device))
        facts["released"] = not torch.from_numpy(batch).is_pinned()
    return facts


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
