"""The worker, spoken to over its socket: loading, batches, and what a model can do wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from crema import wire
from crema.host.light_ring import make_light_ring
from crema.link import Link
from crema.worker_loop import Worker
from tests.crema.worker_host import Host, start


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
    assert "crema/" not in header["error"]["traceback"].replace("tests/crema", "")
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


def test_a_worker_sees_nothing_of_crema_but_the_light_ring(tmp_path: Path) -> None:
    """In a bare interpreter whose path is the light ring's folder, as every worker has it."""
    ring = make_light_ring(tmp_path / "ring")
    script = "import crema.worker, importlib.util as u; print([u.find_spec(n) for n in ('crema.host', 'minion', 'deploy')])"
    found = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.append({str(Path(np.__path__[0]).parent)!r}); {script}"],
        env={"PYTHONPATH": str(ring)}, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert found.stdout.strip() == "[None, None, None]"


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
        for at in range(0, len(data), cut):
            ours.sendall(data[at : at + cut])
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
