"""The worker, spoken to over its socket: loading, batches, and what a model can do wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from crema import wire
from crema.host.light_ring import make_light_ring
from crema.host.manifest import load_manifest
from crema.loaded_model import LoadedModel, read_examples
from crema.shared_pixels import SharedPixels
from crema.worker import Link, Worker

TOYS = Path(__file__).parent.parent / "models"


@pytest.fixture(autouse=True)
def _one_model_per_test() -> Iterator[None]:
    """Every package calls its module `model`; what a test imported does not stay."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("model", None)


class Host:
    """The host's end of a worker that runs in a thread."""

    def __init__(self, toy: str = "echo", *, shared: SharedPixels | None = None, **more: Any) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        self.link = Link(ours)
        self.socket = ours
        self.worker = Worker(Link(theirs), shared)
        self.thread = threading.Thread(target=self._serve, args=(theirs,))
        self.thread.start()
        assert self.link.read_header() == (wire.hello("worker"), 0)
        self.link.send(wire.hello("minion"))
        package = TOYS / toy / "1.0"
        header = {"v": 1, "kind": "load", "id": 0, "package": str(package), "device": "cpu", **more}
        self.link.send(header, msgpack.packb(load_manifest(package).card()))
        self.loaded = self.answer()[0]

    def _serve(self, theirs: socket.socket) -> None:
        try:
            self.worker.serve()
        except (EOFError, wire.WireError):
            pass
        finally:
            theirs.close()

    def answer(self) -> tuple[dict[str, Any], list[Any]]:
        """The next answer and its outcomes."""
        header, size = self.link.read_header()
        payload = bytearray(size)
        self.link.read_into(memoryview(payload))
        outcomes, end = [], 0
        for each in header.get("sizes", []):
            outcomes.append(msgpack.unpackb(payload[end : end + each]))
            end += each
        return header, outcomes

    def run(self, *first_bytes: int, params: Any = None) -> tuple[dict[str, Any], list[Any]]:
        """A batch of items that begin with these bytes."""
        self.send(*first_bytes, params=params)
        return self.answer()

    def send(self, *first_bytes: int, params: Any = None, batch: int = 1, **more: Any) -> None:
        """Only hand it over."""
        if params is not None:
            self.link.send({"v": 1, "kind": "params", "id": batch}, msgpack.packb(params))
        pixels = b"".join(bytes([first]) + bytes(127) for first in first_bytes)
        self.link.send({"v": 1, "kind": "run", "id": batch, "n": len(first_bytes), **more}, pixels)

    def run_at(self, at: Any, *first_bytes: int, n: int | None = None, **more: Any) -> None:
        """Hand over a batch of which only the items that begin with these bytes come with the frame."""
        pixels = b"".join(bytes([first]) + bytes(127) for first in first_bytes)
        n = len(at) if n is None else n
        self.link.send({"v": 1, "kind": "run", "id": 1, "n": n, "at": at, **more}, pixels)

    def skip(self, batch: int, *indexes: int) -> None:
        self.link.send({"v": 1, "kind": "skip", "id": batch, "items": list(indexes)})

    def close(self) -> None:
        self.socket.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    started: list[Host] = []
    yield started
    for host in started:
        host.close()


def start(hosts: list[Host], toy: str = "echo", **more: Any) -> Host:
    host = Host(toy, **more)
    hosts.append(host)
    return host


def test_a_loaded_model_reports_what_batches_of_one_and_of_the_largest_size_took(hosts: list[Host]) -> None:
    loaded = start(hosts).loaded
    assert loaded["kind"] == "answer"
    assert [n for n, _ in loaded["curve"]] == [1, 32]
    assert all(seconds >= 0 for _, seconds in loaded["curve"])


def test_outcomes_come_in_the_order_of_the_items(hosts: list[Host]) -> None:
    header, outcomes = start(hosts).run(3, 1, 2)
    assert header["seconds"] >= 0
    assert outcomes == [{"ok": 3}, {"ok": 1}, {"ok": 2}]


def test_the_pixels_are_received_straight_into_the_batch_array(hosts: list[Host]) -> None:
    host = start(hosts)
    model = host.worker._model
    assert model is not None
    (memory,) = model.arrays
    before = memory.array.ctypes.data
    host.run(9, 8)
    assert memory.array.ctypes.data == before
    assert np.shares_memory(np.frombuffer(memory.pixels, np.uint8), memory.array)
    assert memory.array[:2, 0].tolist() == [9, 8]


def test_a_model_that_does_not_load_says_why_with_its_own_traceback(hosts: list[Host]) -> None:
    error = start(hosts, "unloadable").loaded["error"]
    assert error["message"] == "FileNotFoundError: weights/nowhere.safetensors is not in the package"
    assert "in load" in error["traceback"]


def test_an_exception_in_a_place_fails_that_item_alone(hosts: list[Host]) -> None:
    _, outcomes = start(hosts, "failing").run(1, 254, 2)
    assert outcomes[0] == {"ok": 1}
    assert outcomes[1]["error"]["code"] == "item_rejected"
    assert outcomes[1]["error"]["message"] == "too dark to see anything"
    assert outcomes[2] == {"ok": 2}


@pytest.mark.parametrize(("byte", "kind"), [(255, "RuntimeError"), (253, "SystemExit")])
def test_a_batch_that_raises_is_an_error_of_the_batch_and_the_worker_goes_on(
    hosts: list[Host], byte: int, kind: str
) -> None:
    host = start(hosts, "failing")
    header, _ = host.run(1, byte)
    assert header["error"]["code"] == "model_failed"
    assert header["error"]["kind"] == kind
    assert "in predict" in header["error"]["traceback"]
    assert "crema/worker.py" not in header["error"]["traceback"]
    assert host.run(5)[1] == [{"ok": 5}]


@pytest.mark.parametrize(
    ("byte", "words"),
    [(255, "(got 1)"), (254, "(got generator)"), (253, "(got ndarray)"), (252, "(got NoneType)")],
)
def test_anything_but_a_list_of_n_is_invalid_output_of_the_batch(
    hosts: list[Host], byte: int, words: str
) -> None:
    header, _ = start(hosts, "wrong_length").run(1, byte)
    assert header["error"]["code"] == "model_output_invalid"
    assert words in header["error"]["message"]


@pytest.mark.parametrize("byte", range(246, 256))
def test_an_output_that_is_not_valid_is_that_item_s_error(hosts: list[Host], byte: int) -> None:
    _, outcomes = start(hosts, "wrong_output").run(7, byte, 9)
    assert outcomes[0] == {"ok": {"score": 0.007}}
    assert outcomes[1]["error"]["code"] == "model_output_invalid"
    assert outcomes[2] == {"ok": {"score": 0.009}}


def test_items_without_params_get_the_defaults_and_others_what_was_sent(hosts: list[Host]) -> None:
    sent = {"words": 3, "share": 0.1, "loud": True, "tone": "curt"}
    _, outcomes = start(hosts, "parrot").run(1, 2, params=[{}, sent])
    defaults = {"words": 20, "share": 0.5, "loud": False, "tone": "kind"}
    assert [each["ok"]["params"] for each in outcomes] == [defaults, sent]


def test_params_are_for_one_batch_only(hosts: list[Host]) -> None:
    host = start(hosts, "parrot")
    host.run(1, params=[{"words": 3}])
    assert host.run(1)[1][0]["ok"]["params"]["words"] == 20


def test_what_postprocess_raises_fails_that_item_alone(hosts: list[Host]) -> None:
    _, outcomes = start(hosts, "parrot").run(1, 255, 254)
    assert "ok" in outcomes[0]
    assert outcomes[1]["error"]["code"] == "model_failed"
    assert "KeyError" in outcomes[1]["error"]["message"]
    assert outcomes[2]["error"]["message"] == "not this one"


def test_a_batch_that_is_larger_than_declared_ends_the_worker(hosts: list[Host]) -> None:
    host = start(hosts)
    host.link.send({"v": 1, "kind": "run", "id": 1, "n": 33}, bytes(33 * 128))
    with pytest.raises((EOFError, ConnectionError)):
        host.answer()


def test_the_worker_ends_when_its_host_closes_the_channel(hosts: list[Host]) -> None:
    host = start(hosts)
    host.close()
    hosts.clear()


def test_a_peer_that_is_no_host_is_not_served() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = Link(ours)
        link.send(wire.hello("coordinator"))
        assert Worker(Link(theirs)).serve() == 2


def test_warm_up_takes_single_and_stacked_examples(tmp_path: Path) -> None:
    np.savez(tmp_path / "warm.npz", one=np.ones(4, np.uint8), three=np.zeros((3, 4), np.uint8))
    assert len(read_examples({"examples": []}, tmp_path, str(tmp_path / "warm.npz"), (4,))) == 4


def test_warm_up_refuses_tensors_of_another_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "warm.npz", np.ones(5, np.uint8))
    with pytest.raises(ValueError, match=r"shape \[5\]; the model's input is \[4\]"):
        read_examples({"examples": []}, tmp_path, str(tmp_path / "warm.npz"), (4,))


def write_model(folder: Path, predict: str, *, load: str = "pass") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(
        f"class Toy:\n    def load(self, ctx):\n        {load}\n    def predict(self, batch, params):\n        {predict}\n"
    )
    return folder


def card(**more: Any) -> dict[str, Any]:
    return {
        "entrypoint": "model:Toy",
        "input": {"kind": "tensor", "shape": [4], "dtype": "uint8"},
        "output": {"type": "json", "schema": True},
        "params": {},
        "batching": {"max_size": 4},
        "examples": [],
        **more,
    }


def test_a_model_that_raises_for_every_batch_does_not_load(tmp_path: Path) -> None:
    model = LoadedModel(card(), write_model(tmp_path / "p", "raise RuntimeError('broken')"), "cpu")
    with pytest.raises(RuntimeError, match="broken"):
        model.warm_up([])


def test_a_model_that_refuses_only_zeros_loads(tmp_path: Path) -> None:
    predict = "assert batch.any(); return [0] * len(batch)"
    model = LoadedModel(card(), write_model(tmp_path / "p", predict), "cpu")
    assert [n for n, _ in model.warm_up([np.ones(4, np.uint8)])] == [1]


def test_items_that_err_in_the_warm_up_do_not_matter(tmp_path: Path) -> None:
    model = LoadedModel(card(), write_model(tmp_path / "p", "return [ValueError('no')] * len(batch)"), "cpu")
    assert [n for n, _ in model.warm_up([])] == [1, 4]


def test_a_boolean_tensor_holds_only_truth(tmp_path: Path) -> None:
    spec = {"kind": "tensor", "shape": [4], "dtype": "bool"}
    package = write_model(tmp_path / "p", "return [int(item.view('u1').sum()) for item in batch]")
    model = LoadedModel(card(input=spec), package, "cpu")
    model.arrays[0].pixels[:4] = bytes([0, 1, 2, 255])
    assert [msgpack.unpackb(each) for each in model.run(1, None)] == [{"ok": 3}]


@pytest.mark.parametrize(
    ("written", "error"),
    [("../other", ValueError), ("/etc/hostname", ValueError), ("leads_out", ValueError), ("nowhere", FileNotFoundError)],
)  # fmt: skip
def test_a_model_reads_only_files_of_its_own_package(
    tmp_path: Path, written: str, error: type[Exception]
) -> None:
    package = write_model(tmp_path / "p", "return []", load=f"ctx.path({written!r})")
    (tmp_path / "other").write_text("x")
    (package / "leads_out").symlink_to(tmp_path / "other")
    with pytest.raises(error):
        LoadedModel(card(), package, "cpu")


def test_the_entrypoint_must_be_in_the_module(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="the module model has no Nothing"):
        LoadedModel(card(entrypoint="model:Nothing"), write_model(tmp_path / "p", "return []"), "cpu")


def test_a_worker_sees_nothing_of_crema_but_the_light_ring(tmp_path: Path) -> None:
    """In a bare interpreter whose path is the light ring's folder, as every worker has it."""
    ring = make_light_ring(tmp_path / "ring")
    script = "import crema.worker, importlib.util as u; print([u.find_spec(n) for n in ('crema.host', 'minion', 'deploy')])"
    found = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.append({str(Path(np.__path__[0]).parent)!r}); {script}"],
        env={"PYTHONPATH": str(ring)}, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert found.stdout.strip() == "[None, None, None]"


# -- a batch that lay there while another ran --------------------------------------------------------------------------

SLOW, GUILTY = 248, 255
"""What makes the chaos toy take 0.3 s, time enough to send what comes next, and what makes it raise."""


def test_an_item_whose_deadline_passed_while_its_batch_lay_there_does_not_run(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    host.send(SLOW)
    soon = time.monotonic() + 0.1
    host.send(1, 2, 3, batch=2, until=[None, soon, soon + 60])
    host.answer()
    header, outcomes = host.answer()
    assert header["skipped"] == [1]
    assert outcomes == [{"ok": 1}, {"ok": 3}]


def test_a_batch_of_which_nothing_is_left_does_not_run(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    past = time.monotonic() - 1
    host.send(SLOW, SLOW, until=[past, past])
    header, outcomes = host.answer()
    assert (header["skipped"], outcomes) == ([0, 1], [])
    assert header["seconds"] < 0.3


def test_items_whose_callers_left_while_their_batch_lay_there_do_not_run(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    host.send(SLOW)
    host.send(1, 2, 3, batch=2, until=[None] * 3)
    host.skip(2, 0)
    host.skip(2, 2)
    host.send(4, batch=3, until=[None])
    host.answer()
    header, outcomes = host.answer()
    assert (header["skipped"], outcomes) == ([0, 2], [{"ok": 2}])
    assert host.answer()[1] == [{"ok": 4}]


def test_params_stay_with_their_items_when_others_are_left_out(hosts: list[Host]) -> None:
    host = start(hosts, "parrot")
    host.send(1, 2, 3, params=[{"words": 1}, {"words": 2}, {"words": 3}], until=[0.0, None, None])
    words = [outcome["ok"]["params"]["words"] for outcome in host.answer()[1]]
    assert words == [2, 3]


def test_a_skip_that_comes_too_late_changes_nothing(hosts: list[Host]) -> None:
    host = start(hosts)
    host.run(1)
    host.skip(1, 0)
    assert host.run(2)[1] == [{"ok": 2}]


def test_a_batch_that_raises_says_which_items_were_not_in_it(hosts: list[Host]) -> None:
    host = start(hosts, "chaos")
    host.send(7, GUILTY, until=[0.0, None])
    header, _ = host.answer()
    assert header["skipped"] == [0]
    assert "told to raise" in header["error"]["message"]


# -- the link ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [97, 9999, 10**6])
def test_frames_come_out_whole_however_many_arrive_at_once(cut: int) -> None:
    ours, theirs = socket.socketpair()
    frames = [
        (f"{number}" * size, bytes([number]) * sent)
        for number, (size, sent) in enumerate(
            [(3, 0), (30_000, 50), (60_000, 5), (60_000, 300_000), (1, 1), (1, 0)]
        )
    ]
    data = b"".join(
        wire.encode_header({"v": 1, "kind": "x", "id": number, "text": text}, len(payload)) + payload
        for number, (text, payload) in enumerate(frames)
    )

    def send() -> None:
        for start in range(0, len(data), cut):
            ours.sendall(data[start : start + cut])
        ours.close()

    sender = threading.Thread(target=send)
    sender.start()
    link = Link(theirs)
    for number, (text, payload) in enumerate(frames):
        header, size = link.read_header()
        received = bytearray(size)
        link.read_into(memoryview(received))
        assert (header["id"], header["text"], bytes(received)) == (number, text, payload)
    assert not link.has_more()
    with pytest.raises(EOFError):
        link.read_header()
    sender.join(20)
    theirs.close()


# -- pixels in memory that is shared with the host ---------------------------------------------------------------------


@pytest.fixture
def shared() -> Iterator[SharedPixels]:
    """Four items of 128 bytes, at 0, 128, 256, 384, which begin with 10, 11, 12, 13."""
    descriptor = os.memfd_create("pixels")
    os.write(descriptor, b"".join(bytes([10 + item]) + bytes(127) for item in range(4)))
    yield SharedPixels(descriptor)


def test_items_are_taken_from_the_shared_memory_and_from_the_frame_in_their_order(
    hosts: list[Host], shared: SharedPixels
) -> None:
    host = start(hosts, shared=shared)
    host.run_at([384, None, 0, None, 128], 7, 8)
    assert host.answer()[1] == [{"ok": 13}, {"ok": 7}, {"ok": 10}, {"ok": 8}, {"ok": 11}]
    host.run_at([256])
    assert host.answer()[1] == [{"ok": 12}], "and a batch without a byte in the frame"
    assert host.run(5)[1] == [{"ok": 5}], "and one that is all in the frame"


def test_items_from_the_shared_memory_may_be_left_out_too(hosts: list[Host], shared: SharedPixels) -> None:
    host = start(hosts, shared=shared)
    host.run_at([0, 128, 256], until=[None, 0.0, None])
    header, outcomes = host.answer()
    assert header["skipped"] == [1]
    assert outcomes == [{"ok": 10}, {"ok": 12}]


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        ([385], 0),
        ([-1], 0),
        ([2**63], 0),
        ([1.0], 0),
        (["0"], 0),
        ([True], 0),
        ([0, 0], 1),
        ([None], 0),
        ({}, 0),
        (0, 0),
    ],
)
def test_a_place_outside_the_shared_memory_ends_the_worker(
    hosts: list[Host], shared: SharedPixels, at: Any, sent: int
) -> None:
    host = start(hosts, shared=shared)
    host.run_at(at, *range(sent), n=len(at) if type(at) is list else 1)
    with pytest.raises(EOFError):
        host.answer()


def test_a_worker_without_shared_memory_takes_no_places(hosts: list[Host]) -> None:
    host = start(hosts)
    host.run_at([0])
    with pytest.raises(EOFError):
        host.answer()


def test_what_the_worker_shares_with_the_host_it_can_not_change_or_hand_on() -> None:
    descriptor = os.memfd_create("pixels")
    os.write(descriptor, bytes(16))
    shared = SharedPixels(descriptor)
    with pytest.raises(OSError):
        os.fstat(descriptor)
    with pytest.raises(TypeError):
        shared._memory[0] = 1
