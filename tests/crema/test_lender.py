"""Batches that lie in one piece in the shared memory are run there, by models that leave them as they came."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crema import wire
from crema.lender import PROBATION, Lender
from crema.shared_pixels import SharedPixels
from tests.crema.worker_host import TOYS, Host, start

ITEM = 128
# what the model saw, and whether it saw it where the host had received it
TELL = "result = [[int(item[0]), type(batch.base).__name__] for item in batch]"


@pytest.fixture
def memory() -> int:
    """Four items, at 0, 128, 256, 384, which begin with 10, 11, 12, 13."""
    descriptor = os.memfd_create("pixels")
    os.write(descriptor, b"".join(bytes([10 + item]) + bytes(ITEM - 1) for item in range(4)))
    return descriptor


@pytest.fixture
def begin(hosts: list[Host], memory: int, tmp_path: Path) -> Callable[[str], Host]:
    """A worker of a model whose `predict` does this."""

    def begin(predict: str) -> Host:
        package = tmp_path / "echo" / "1.0"
        shutil.copytree(TOYS / "echo" / "1.0", package)
        code = (package / "model.py").read_text()
        code = code.replace("result: list[int] = batch[:, 0].tolist()", predict)
        (package / "model.py").write_text(code)
        card = (
            (package / "model.yaml").read_text().replace("schema: {type: integer}", "schema: {type: array}")
        )
        (package / "model.yaml").write_text(card)
        return start(hosts, str(tmp_path / "echo"), shared=SharedPixels(os.dup(memory)))

    return begin


def told(host: Host, at: list[Any], *first_bytes: int, **more: Any) -> list[Any]:
    host.run_at(at, *first_bytes, **more)
    return [outcome["ok"] for outcome in host.answer()[1]]


def on_probation(host: Host) -> None:
    for _ in range(PROBATION):
        assert told(host, [0, 128]) == [[10, "ndarray"], [11, "ndarray"]]


def test_a_model_that_leaves_its_batches_as_they_came_runs_them_where_they_lie(
    begin: Callable[[str], Host],
) -> None:
    host = begin(TELL)
    on_probation(host)
    assert told(host, [128, 256, 384]) == [[11, "mmap"], [12, "mmap"], [13, "mmap"]]
    assert told(host, [384]) == [[13, "mmap"]]


@pytest.mark.parametrize("at", [[0, 256], [128, 0], [0, 64], [0, 0], [0, None], [None, 128]])
def test_a_batch_that_lies_apart_is_brought_together(begin: Callable[[str], Host], at: list[Any]) -> None:
    host = begin(TELL)
    on_probation(host)
    sent = [7] * at.count(None)
    first = {None: 7, 0: 10, 64: 0, 128: 11, 256: 12}
    assert told(host, at, *sent) == [[first[offset], "ndarray"] for offset in at]


def test_of_a_batch_that_lies_there_some_may_be_left_out(begin: Callable[[str], Host], memory: int) -> None:
    host = begin(TELL)
    on_probation(host)
    assert told(host, [0, 128, 256], until=[None, 0.0, None]) == [[10, "ndarray"], [12, "ndarray"]]
    assert told(host, [0, 128], until=[0.0, 0.0]) == []
    assert told(host, [0, 128], until=[None, None]) == [[10, "mmap"], [11, "mmap"]]
    assert os.pread(memory, 1, 128) == b"\x0b", "and nobody else's pixels are moved"


def test_a_model_that_writes_into_its_batches_gets_copies_for_good(
    begin: Callable[[str], Host], memory: int
) -> None:
    host = begin(f"{TELL}; batch[:, 1] = 255")
    for _ in range(2 * PROBATION):
        assert told(host, [0, 128]) == [[10, "ndarray"], [11, "ndarray"]]
    assert os.pread(memory, ITEM, 0) == bytes([10]) + bytes(ITEM - 1)


def test_one_that_writes_and_raises_is_found_out_as_well(begin: Callable[[str], Host], memory: int) -> None:
    host = begin(f"{TELL}; batch[:, 1] = 255; assert batch[0, 0] != 12")
    for _ in range(2 * PROBATION):
        host.run_at([256, 384])
        assert "error" in host.answer()[0]
    assert told(host, [384]) == [[13, "ndarray"]]
    assert os.pread(memory, 2, 256) == b"\x0c\0"


@pytest.mark.parametrize("write", ["batch[:, 1] = 255", "memoryview(batch)[0, 1] = 255"])
def test_one_that_writes_later_is_found_out_then_and_has_a_copy_to_write_to(
    begin: Callable[[str], Host], memory: int, write: str
) -> None:
    host = begin(f"{TELL}\n        if batch[0, 0] == 12: {write}")
    on_probation(host)
    assert told(host, [0, 128]) == [[10, "mmap"], [11, "mmap"]]
    assert told(host, [256, 384]) == [[12, "NoneType"], [13, "NoneType"]]
    assert os.pread(memory, 2, 256) == b"\x0c\0"
    assert told(host, [0, 128]) == [[10, "ndarray"], [11, "ndarray"]], "and is lent nothing more"


def test_another_error_of_a_batch_that_is_lent_is_the_models_own(begin: Callable[[str], Host]) -> None:
    host = begin(f"{TELL}; int('x' * int(batch[0, 0] == 12) or 1)")
    on_probation(host)
    host.run_at([256])
    assert "invalid literal" in host.answer()[0]["error"]["message"]
    assert told(host, [0]) == [[10, "mmap"]]


def test_a_place_outside_ends_the_worker_that_runs_batches_where_they_lie_too(
    begin: Callable[[str], Host],
) -> None:
    host = begin(TELL)
    on_probation(host)
    host.run_at([384, 512])
    with pytest.raises(EOFError):
        host.answer()


def test_truth_values_are_made_of_any_byte_so_they_are_never_run_where_they_lie(memory: int) -> None:
    lender = Lender(SharedPixels(memory), [ITEM], "bool", ITEM)
    for _ in range(PROBATION + 1):
        assert lender.lend([0]) is None
        lender.watch([0], memoryview(bytes([10]) + bytes(ITEM - 1)))


def test_numbers_are_read_as_the_wire_has_them(memory: int) -> None:
    lender = Lender(SharedPixels(os.dup(memory)), [8, 4], "float32", ITEM)
    for _ in range(PROBATION):
        assert lender.lend([0]) is None
        lender.watch([0], memoryview(os.pread(memory, ITEM, 0)))
    batch = lender.lend([0, ITEM])
    assert batch is not None
    assert (batch.shape, batch.dtype.str) == ((2, 8, 4), "<f4")
    assert batch.tobytes() == os.pread(memory, 2 * ITEM, 0)
    with pytest.raises(wire.WireError):
        lender.lend([-ITEM, 0])
