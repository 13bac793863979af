"""Pickles are known by their bytes, however they are called and packed, and nothing else is taken for one."""

from __future__ import annotations

import gzip
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from check.pickles import has_code, looks_like_a_pickle


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_known_whatever_it_is_called(tmp_path: Path, protocol: int) -> None:
    assert looks_like_a_pickle(written(tmp_path, "w.safetensors", pickle.dumps([1.0], protocol)))


def test_a_torch_archive_is_a_pickle(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert looks_like_a_pickle(tmp_path / "w.bin")


@pytest.mark.parametrize("name", ["photo.jpg", "model.py", "weights.safetensors"])
def test_other_files_are_no_pickles(tmp_path: Path, name: str) -> None:
    assert not looks_like_a_pickle(written(tmp_path, name, b"\xff\xd8 anything"))


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_packed_pickle_is_one(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert looks_like_a_pickle(written(tmp_path, "labels.bin", pack(pickle.dumps(["a"]))))


def test_a_numpy_file_of_objects_is_a_pickle(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", first=np.zeros(3), second=np.array([{"a": 1}], dtype=object))
    assert looks_like_a_pickle(tmp_path / "x.npy")
    assert looks_like_a_pickle(tmp_path / "x.npz")


def test_a_numpy_file_of_numbers_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3, np.dtype([("Other", "<f4")])))
    np.savez(tmp_path / "x.npz", first=np.zeros(3))
    assert not looks_like_a_pickle(tmp_path / "x.npy")
    assert not looks_like_a_pickle(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b".",
        b"{}",
        b"In a word.",
        b"(see above).",
        b"1.",
        b"Note: I1\n.x.",
        b"[1, 2]\n",
    ],
)
def test_text_is_no_pickle(tmp_path: Path, text: bytes) -> None:
    assert not looks_like_a_pickle(written(tmp_path, "notes.txt", text))


def test_an_archive_with_python_in_it_has_code(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("deep/evil.py", "import pickle")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("labels.json", "[]")
    assert has_code(tmp_path / "lib.zip")
    assert not has_code(tmp_path / "data.zip")
