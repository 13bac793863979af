"""A model of a package, loaded and warmed up, and what its `load` may read."""

from __future__ import annotations

from pathlib import Path

import msgpack
import numpy as np
import pytest

from crema.loaded_model import LoadedModel, read_examples
from tests.crema.worker_host import card, write_model


def test_warm_up_takes_single_and_stacked_examples(tmp_path: Path) -> None:
    np.savez(tmp_path / "warm.npz", one=np.ones(4, np.uint8), three=np.zeros((3, 4), np.uint8))
    assert len(read_examples({"examples": []}, tmp_path, str(tmp_path / "warm.npz"), (4,))) == 4


def test_warm_up_refuses_tensors_of_another_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "warm.npz", np.ones(5, np.uint8))
    with pytest.raises(ValueError, match=r"shape \[5\]; the model's input is \[4\]"):
        read_examples({"examples": []}, tmp_path, str(tmp_path / "warm.npz"), (4,))


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
    assert [msgpack.unpackb(each) for each in model.run(model.arrays[0].first(1), None)] == [{"ok": 3}]


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
