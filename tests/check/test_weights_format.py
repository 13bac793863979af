"""The formats of weights by their bytes: sound ones, broken ones, and that no byte makes anything but a refusal."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check.weights_format import FormatRefused, check_format, is_safetensors
from tests.check.defects import onnx_with_external_data, safetensors

SCAFFOLDS = Path(__file__).resolve().parents[2] / "check" / "scaffolds"


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_sound_weights_say_what_they_hold(tmp_path: Path) -> None:
    assert (
        check_format(written(tmp_path, "w.safetensors", safetensors()), "w.safetensors", set()) == "1 tensors"
    )
    assert check_format(SCAFFOLDS / "onnx" / "weights" / "model.onnx", "weights/model.onnx", set()) == "graph"


def test_declared_external_data_of_onnx_is_allowed(tmp_path: Path) -> None:
    path = written(tmp_path, "w.onnx", onnx_with_external_data("w.onnx.data"))
    assert check_format(path, "weights/w.onnx", {"weights/w.onnx.data"}) == "graph"


def test_safetensors_are_known_whatever_they_are_called(tmp_path: Path) -> None:
    assert is_safetensors(written(tmp_path, "w.bin", safetensors()))
    assert not is_safetensors(written(tmp_path, "notes.txt", b"nothing of the kind"))


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"nonsense!",
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
        b'{"w":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}}',
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
        b'{"w":null}',
        b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}',
        b"[" * 5000,
    ],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path, header: bytes) -> None:
    content = len(header).to_bytes(8, "little") + header + bytes(8)
    with pytest.raises(FormatRefused, match="is no safetensors file"):
        check_format(written(tmp_path, "w.safetensors", content), "w.safetensors", set())


@given(content=st.binary(max_size=200), name=st.sampled_from(["w.safetensors", "w.onnx"]))
def test_no_bytes_make_anything_but_an_answer_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = written(tmp_path_factory.getbasetemp(), name, content)
    with contextlib.suppress(FormatRefused):
        check_format(path, name, set())


@given(at=st.integers(0, 416), byte=st.integers(0, 255))
def test_one_changed_byte_of_an_onnx_file_never_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    content = bytearray((SCAFFOLDS / "onnx" / "weights" / "model.onnx").read_bytes())
    content[at] = byte
    path = written(tmp_path_factory.getbasetemp(), "w.onnx", bytes(content))
    with contextlib.suppress(FormatRefused):
        check_format(path, "w.onnx", set())
