"""`model.yaml`: what a good one becomes, its weights, links and digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from crema.host.manifest import Manifest, ManifestError, load_manifest, package_digest, read_python
from tests.crema.host.manifest_packages import make_package, refused


def test_a_good_manifest_gives_a_card_with_every_default_filled_in(tmp_path: Path) -> None:
    card = load_manifest(make_package(tmp_path)).card()
    assert card == {
        "name": "tags",
        "version": "3.1",
        "summary": "Up to 30 English tags for a photo",
        "owner": "vision-research@example.com",
        "entrypoint": "model:Tagger",
        "input": {"kind": "image", "size": [224, 160], "fit": "cover", "filter": "bilinear", "colour": "rgb"},
        "output": {"type": "tags"},
        "params": {"max_tags": {"type": "integer", "minimum": 1, "maximum": 100, "default": 30}},
        "weights": [{"path": "weights/tags.safetensors", "sha256": hashlib.sha256().hexdigest()}],
        "batching": {"max_size": 8, "max_wait_ms": 0, "in_flight": 1},
        "gate": {"max_pending": 32},
        "slo": {"p99_ms": 250},
        "resources": {"device": "auto", "gpu_memory_mb": 3000, "memory_mb": None},
        "watchdog_s": None,
        "load_s": 60,
        "workers": 1,
        "examples": [{"image": "examples/beach.jpg", "expect": "examples/beach.json", "tolerance": 0.02}],
    }


def shortest(tmp_path: Path, **changed: str) -> Manifest:
    """A manifest of the required keys alone."""
    keys = {
        "crema": "1",
        "name": "tags",
        "version": '"3.1"',
        "entrypoint": "model:Tagger",
        "python": '">=3.11"',
        "input": "{kind: image, size: [224, 224]}",
        "output": "{type: tags}",
        "examples": "[{image: examples/beach.jpg, expect: examples/beach.json}]",
    } | changed
    return load_manifest(make_package(tmp_path, "".join(f"{key}: {value}\n" for key, value in keys.items())))


def test_the_required_keys_are_enough(tmp_path: Path) -> None:
    manifest = shortest(tmp_path)
    assert (manifest.batching.max_size, manifest.batching.max_wait_ms, manifest.batching.in_flight) == (
        32,
        0,
        1,
    )
    assert (manifest.gate.max_pending, manifest.slo.p99_ms, manifest.resources.device) == (128, 500, "auto")
    assert (manifest.params, manifest.weights, manifest.watchdog_s) == ({}, (), None)


def test_the_gate_has_four_batches_of_places_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert shortest(tmp_path, batching="{max_size: 3}").gate.max_pending == 12
    assert shortest(tmp_path, batching="{max_size: 3}", gate="{}").gate.max_pending == 12
    assert shortest(tmp_path, batching="{max_size: 3}", gate="{max_pending: 2}").gate.max_pending == 2


def test_a_tensor_model_takes_npy_examples(tmp_path: Path) -> None:
    manifest = shortest(
        tmp_path,
        input="{kind: tensor, shape: [512], dtype: float32}",
        output="{type: json, schema: {type: object}}",
        examples="[{tensor: examples/x.npy, expect: examples/beach.json, tolerance: 5}]",
    )
    card = manifest.card()
    assert card["input"] == {"kind": "tensor", "shape": [512], "dtype": "float32"}
    assert card["output"] == {"type": "json", "schema": {"type": "object"}}
    assert card["examples"] == [{"tensor": "examples/x.npy", "expect": "examples/beach.json", "tolerance": 5}]


def test_every_kind_of_parameter_is_read(tmp_path: Path) -> None:
    params = (
        "{a: {type: integer, default: 1}, b: {type: number, default: 1, minimum: 0.5, maximum: 2},"
        " c: {type: boolean, default: true}, d: {type: string, default: x, enum: [x, y]}}"
    )
    shown = shortest(tmp_path, params=params).card()["params"]
    assert shown["a"] == {"type": "integer", "minimum": None, "maximum": None, "default": 1}
    assert shown["b"] == {"type": "number", "minimum": 0.5, "maximum": 2.0, "default": 1.0}
    assert shown["c"] == {"type": "boolean", "default": True}
    assert shown["d"] == {"type": "string", "enum": ["x", "y"], "max_length": 256, "default": "x"}


def test_a_batch_that_does_not_fit_a_frame_is_refused_with_the_size_that_does(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        shortest(tmp_path, input="{kind: image, size: [2048, 2048]}", batching="{max_size: 8}")
    assert [(mistake.path, mistake.try_) for mistake in caught.value.mistakes] == [
        ("batching.max_size", "max_size: 5")
    ]


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    outside = tmp_path / "secret.safetensors"
    outside.touch()
    (package / "weights/tags.safetensors").unlink()
    (package / "weights/tags.safetensors").symlink_to(outside)
    assert "weights[0].path: leads through a link out of the package's folder" in refused(package)


def test_a_folder_that_no_model_can_be_named_after_is_to_be_renamed(tmp_path: Path) -> None:
    assert "try: rename the folder Tags, too" in refused(make_package(tmp_path, name="Tags"))


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    (package / "weights/tags.safetensors").rename(package / "weights/real.safetensors")
    (package / "weights/tags.safetensors").symlink_to("real.safetensors")
    assert load_manifest(package).wrong_weights() == []


def test_weights_with_another_digest_are_named(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    (package / "weights/tags.safetensors").write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()
    (mistake,) = load_manifest(package).wrong_weights()
    assert (mistake.path, mistake.line, mistake.try_) == ("weights[0].sha256", 13, f"sha256: {found}")


def test_the_digest_covers_every_file_and_no_bytecode(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    before = load_manifest(package).digest
    (package / "__pycache__").mkdir()
    (package / "__pycache__/model.cpython-311.pyc").write_bytes(b"1")
    assert package_digest(package) == before
    (package / "weights/tags.safetensors").write_bytes(b"1")
    changed = package_digest(package)
    assert changed != before
    (package / "weights/tags.safetensors").rename(package / "weights/tags2.safetensors")
    assert package_digest(package) not in (before, changed)


def test_the_digest_is_that_of_an_equal_package_elsewhere(tmp_path: Path) -> None:
    assert package_digest(make_package(tmp_path / "a")) == package_digest(make_package(tmp_path / "b"))


def test_python_can_be_read_before_the_rest_is_there(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text('python: ">=3.11,<3.13"\nweights: nonsense\n')
    assert read_python(tmp_path) == ">=3.11,<3.13"


def test_a_python_that_is_missing_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("name: tags\n")
    with pytest.raises(ManifestError, match="python: is required"):
        read_python(tmp_path)
