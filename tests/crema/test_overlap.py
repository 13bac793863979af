"""Two batches at once, in a worker whose GPU and torch are only imagined (the toy `overlapping`)."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crema.batch_array import BatchArray
from crema.device import CudaDevice
from crema.loaded_model import LoadedModel
from crema.overlap import Overlap
from crema.worker_loop import overlap_of
from tests.crema.fake_torch import fake_torch
from tests.crema.worker_host import Host, card, modules_forgotten, write_model

MEET, SLOW, RAISE, DEVICE, MEMORY = 255, 254, 253, 250, 249


@pytest.fixture(autouse=True)
def _one_model_per_test() -> Iterator[None]:
    with modules_forgotten("model", "torch"):  # an imagined torch first of all must not stay
        yield


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host("overlapping", device="cuda:0")
    yield host
    host.close()


def torch() -> Any:
    return sys.modules["torch"]


def test_the_worker_says_that_it_overlaps_and_what_memory_the_gpu_has(host: Host) -> None:
    gib = torch().GIB
    assert host.loaded["overlaps"] is True
    assert host.loaded["gpu_memory"] == {"reserved": gib, "used": 3 * gib, "total": 8 * gib}


def test_on_a_cpu_one_batch_runs_after_the_other() -> None:
    host = Host("overlapping")
    try:
        assert "overlaps" not in host.loaded
        assert "gpu_memory" not in host.loaded
        assert host.run(7)[1] == [{"ok": {"value": 7, "stream": 0, "grad": 0, "met": False}}]
    finally:
        host.close()


def test_two_batches_run_at_once_each_on_its_own_stream(host: Host) -> None:
    host.send(MEET, 1, batch=1)
    host.send(MEET, 2, batch=2, until=[None, None])
    (first, ones), (second, twos) = host.answer(), host.answer()
    assert (first["id"], second["id"]) == (1, 2)
    assert [each["ok"]["value"] for each in ones + twos] == [MEET, 1, MEET, 2]
    assert len({0, ones[0]["ok"]["stream"], twos[0]["ok"]["stream"]}) == 3


def test_answers_leave_in_the_order_in_which_the_batches_came(host: Host) -> None:
    host.send(SLOW, batch=1)
    host.send(3, batch=2)
    assert [host.answer()[0]["id"] for _ in range(2)] == [1, 2]


def test_many_batches_keep_their_pixels_their_params_and_their_order(host: Host) -> None:
    host.send(1, 2, batch=1)
    for number in range(2, 60):
        host.send(*[number] * (1 + number % 4), batch=number)
        header, outcomes = host.answer()
        assert header["id"] == number - 1
        assert {each["ok"]["value"] for each in outcomes} <= {number - 1, 2}
    assert host.answer()[0]["id"] == 59


def test_gradients_stay_off_as_the_model_left_them_when_it_had_loaded(host: Host) -> None:
    assert host.run(1)[1][0]["ok"]["grad"] == 0


def test_a_batch_that_came_while_another_ran_did_not_wait(host: Host) -> None:
    host.send(MEET, batch=1)
    host.send(MEET, batch=2)
    host.answer()
    assert host.answer()[0]["waited"] == 0


def test_a_batch_that_raises_leaves_the_one_beside_it_alone(host: Host) -> None:
    host.send(RAISE, batch=1)
    host.send(5, batch=2)
    assert "told to raise" in host.answer()[0]["error"]["message"]
    assert host.answer()[1][0]["ok"]["value"] == 5


def test_two_batches_that_find_no_memory_together_say_so_and_give_back_what_they_held(host: Host) -> None:
    host.send(MEET, MEMORY, batch=1)
    host.send(MEET, batch=2)
    assert [host.answer()[0].get("error", {}).get("trouble") for _ in range(2)] == ["memory", None]
    assert "empty_cache" in torch().LOG


def test_an_error_that_breaks_the_device_is_told_as_one(host: Host) -> None:
    assert host.run(DEVICE)[0]["error"]["trouble"] == "cuda"


def test_an_item_whose_deadline_has_passed_does_not_run(host: Host) -> None:
    host.send(MEET, batch=1)
    host.send(MEET, 4, 5, batch=2, until=[None, time.monotonic() - 1, None])
    host.answer()
    header, outcomes = host.answer()
    assert header["skipped"] == [1]
    assert [each["ok"]["value"] for each in outcomes] == [MEET, 5]


def test_items_whose_callers_have_left_do_not_run(host: Host) -> None:
    host.send(SLOW, batch=1)
    host.send(SLOW, batch=2)
    host.send(7, 8, batch=3, until=[None, None])  # no array is free for it yet
    host.skip(3, 0)
    host.answer()
    host.answer()
    header, outcomes = host.answer()
    assert header["skipped"] == [0]
    assert outcomes[0]["ok"]["value"] == 8


def test_a_worker_that_is_asked_to_close_answers_what_it_has(host: Host) -> None:
    host.send(SLOW, batch=1)
    host.send(SLOW, batch=2)
    host.link.send({"v": 1, "kind": "close", "id": 0})
    assert [host.answer()[0]["id"] for _ in range(2)] == [1, 2]
    host.thread.join(10)
    assert not host.thread.is_alive()
    assert torch().LOCKED == {}


# -- before it is ready ------------------------------------------------------------------------------------------------


def overlapping_model(folder: Path, predict: str, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    package = write_model(folder / "p", predict, load="import threading; self.lock = threading.Lock()")
    return LoadedModel(card(batching={"max_size": 4, "in_flight": 2}), package, "cuda:0")


def test_the_largest_batches_run_at_once_on_both_streams_before_the_worker_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = "import torch; sys = __import__('sys'); sys.modules['torch'].LOG.append((torch.cuda.current_stream(), len(batch)))"
    model = overlapping_model(tmp_path, f"{seen}; return [0] * len(batch)", monkeypatch)
    overlap = overlap_of(model)
    assert overlap is not None
    overlap.close()
    runs = [each for each in torch().LOG if type(each) is tuple]
    assert len(runs) == 4
    assert {n for _, n in runs} == {4}
    assert len({stream for stream, _ in runs} - {0}) == 2


def test_where_two_of_the_largest_batches_find_no_memory_one_runs_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predict = "raise RuntimeError('CUDA out of memory')"
    before = set(threading.enumerate())
    assert overlap_of(overlapping_model(tmp_path, predict, monkeypatch)) is None
    assert "two batches of 4 at once find no memory" in caplog.text
    assert set(threading.enumerate()) <= before


def test_a_model_that_takes_one_batch_at_a_time_has_no_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    package = write_model(tmp_path / "p", "return [0] * len(batch)")
    model = LoadedModel(card(), package, "cuda:0")
    assert len(model.arrays) == 1
    assert overlap_of(model) is None


# -- the threads themselves --------------------------------------------------------------------------------------------


def threads_with(monkeypatch: pytest.MonkeyPatch) -> Overlap:
    arrays = [BatchArray(1, [4], "uint8") for _ in range(2)]
    return Overlap(arrays, CudaDevice(fake_torch(), "cuda:0"))


def test_an_array_is_not_given_twice_while_its_batch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    overlap, gate = threads_with(monkeypatch), threading.Event()
    taken = []
    for _ in range(2):
        array = overlap.take_array()
        taken.append(array)

        def work() -> Any:
            assert gate.wait(10)
            return lambda: None

        overlap.put(array, work)
    assert overlap.is_busy
    assert taken[0] is not taken[1]
    gate.set()
    assert overlap.take_array() in taken
    overlap.close()
    assert not overlap.is_busy


def test_a_thread_that_breaks_ends_the_process_instead_of_leaving_it_half_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: ended.set())
    overlap = threads_with(monkeypatch)

    def breaks() -> Any:
        raise SystemExit

    overlap.put(overlap.take_array(), breaks)
    assert ended.wait(10)
