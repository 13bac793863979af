"""Tensors that examples bring: what is no array of numbers is said to be none, and nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from check.items import ExampleUnusable, read_tensor


def test_numbers_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3))
    assert read_tensor(tmp_path / "x.npy", "x.npy").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip that is none", b"\x89PNG\r\n", b"\x93NUMPY\x01\x00\xff\xff"]
)
def test_what_is_no_array_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(
        ExampleUnusable, match=r"^examples/x\.npy is no \.npy file of numbers, as numpy\.save writes it$"
    ):
        read_tensor(tmp_path / "x.npy", "examples/x.npy")


def test_an_array_of_objects_is_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ExampleUnusable):
        read_tensor(tmp_path / "x.npy", "x.npy")
