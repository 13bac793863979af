"""`model.yaml`: what a good one becomes, and the exact text of every mistake."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from crema.host.manifest import Manifest, ManifestError, load_manifest, package_digest, read_python

GOOD = """\
crema: 1
name: tags
version: "3.1"
summary: Up to 30 English tags for a photo
owner: vision-research@example.com
entrypoint: model:Tagger
python: ">=3.11,<3.13"
input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}
output: {type: tags}
params:
  max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}
weights:
  - {path: weights/tags.safetensors, sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
batching: {max_size: 8, max_wait_ms: 0, in_flight: 1}
slo: {p99_ms: 250}
resources: {device: auto, gpu_memory_mb: 3000}
examples:
  - {image: examples/beach.jpg, expect: examples/beach.json, tolerance: 0.02}
"""


def make_package(folder: Path, manifest: str = GOOD, *, name: str = "tags", version: str = "3.1") -> Path:
    package = folder / name / version
    for file in (
        "model.py",
        "weights/tags.safetensors",
        "examples/beach.jpg",
        "examples/beach.json",
        "examples/x.npy",
    ):
        path = package / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (package / "model.yaml").write_text(manifest, encoding="utf-8")
    return package


def refused(package: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(package)
    return str(caught.value)


# (a line of the good manifest, what stands there instead, the whole text of the error)
MISTAKES = {
    "a key that is missing": (
        "entrypoint: model:Tagger\n",
        "",
        "model.yaml:1:1: entrypoint: is required\n  try: entrypoint: model:Tagger",
    ),
    "a key that is unknown": (
        "slo: {p99_ms: 250}",
        "slo: {p99_ms: 250}\nbatch: 8",
        "model.yaml:16:1: batch: there is no such key; did you mean batching?\n  try: batching",
    ),
    "an unknown key inside": (
        "batching: {max_size: 8, max_wait_ms: 0, in_flight: 1}",
        "batching: {max_siez: 8}",
        "model.yaml:14:12: batching.max_siez: there is no such key; did you mean max_size?\n  try: max_size",
    ),
    "an unknown key unlike any other": (
        "slo: {p99_ms: 250}",
        "slo: {zzz: 250}",
        "model.yaml:15:7: slo.zzz: there is no such key\n  try: one of p99_ms",
    ),
    "an unknown key of an input": (
        "input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}",
        "input: {kind: image, size: [224, 160], filters: bilinear}",
        "model.yaml:8:40: input.filters: there is no such key; did you mean filter?\n  try: filter",
    ),
    "a key given twice": (
        "slo: {p99_ms: 250}",
        "slo: {p99_ms: 250}\nslo: {p99_ms: 300}",
        "model.yaml:16:1: slo: is given twice (first on line 15)\n  try: remove one of them",
    ),
    "a version without quotes": (
        'version: "3.1"',
        "version: 3.10",
        'model.yaml:3:1: version: must stand in quotes: without them YAML reads 3.10 as 3.1 (got 3.10)\n  try: version: "3.10"',
    ),
    "a version in other words": (
        'version: "3.1"',
        'version: "v3"',
        'model.yaml:3:1: version: must be MAJOR.MINOR in plain digits (got "v3")\n  try: version: "3.1"',
    ),
    "a version that is not the folder's": (
        'version: "3.1"',
        'version: "3.2"',
        'model.yaml:3:1: version: must be the name of the package\'s folder, 3.1 (got "3.2")\n  try: version: "3.1"',
    ),
    "a name that is not the folder's": (
        "name: tags",
        "name: tagz",
        'model.yaml:2:1: name: must be the name of the folder above the version\'s, tags (got "tagz")\n  try: name: tags',
    ),
    "another manifest format": (
        "crema: 1",
        "crema: 2",
        "model.yaml:1:1: crema: must be 1 (got 2)\n  try: crema: 1",
    ),
    "a summary that is a number": (
        "summary: Up to 30 English tags for a photo",
        "summary: 30",
        'model.yaml:4:1: summary: must be text, in quotes (got 30)\n  try: summary: "30"',
    ),
    "an entrypoint that is a path": (
        "entrypoint: model:Tagger",
        "entrypoint: model.py",
        'model.yaml:6:1: entrypoint: must be module:Class (got "model.py")\n  try: entrypoint: model:Tagger',
    ),
    "an entrypoint that is not there": (
        "entrypoint: model:Tagger",
        "entrypoint: tagger:Tagger",
        'model.yaml:6:1: entrypoint: there is no tagger.py in the package\'s folder (got "tagger:Tagger")'
        "\n  try: entrypoint: model:Tagger",
    ),
    "a python without comparison": (
        'python: ">=3.11,<3.13"',
        'python: "3.11"',
        'model.yaml:7:1: python: must be comparisons with Python releases, for instance >=3.11,<3.13 (got "3.11")'
        '\n  try: python: ">=3.11,<3.13"',
    ),
    "an input of an unknown kind": (
        "input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}",
        "input: {kind: photo, size: [224, 160]}",
        'model.yaml:8:9: input.kind: must be image or tensor (got "photo")\n  try: kind: image',
    ),
    "an input that is no map": (
        "input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}",
        "input: image",
        'model.yaml:8:1: input: must be a map (got "image")'
        "\n  try: input: {kind: image, size: [224, 224], fit: cover, filter: bilinear}",
    ),
    "a size of one number": (
        "input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}",
        "input: {kind: image, size: [224]}",
        "model.yaml:8:22: input.size[1]: is required\n  try: size: [224, 224]",
    ),
    "a size of nothing": (
        "input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}",
        "input: {kind: image, size: [224, 0]}",
        "model.yaml:8:34: input.size[1]: must be at least 1 (got 0)\n  try: size: [224, 224]",
    ),
    "a fit that nobody knows": (
        "input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}",
        "input: {kind: image, size: [224, 160], fit: crop}",
        'model.yaml:8:40: input.fit: must be cover, contain or stretch (got "crop")\n  try: fit: cover',
    ),
    "an output of an unknown type": (
        "output: {type: tags}",
        "output: {type: labels}",
        'model.yaml:9:10: output.type: must be tags, score, caption, embedding or json (got "labels")\n  try: type: tags',
    ),
    "json without its schema": (
        "output: {type: tags}",
        "output: {type: json}",
        "model.yaml:9:1: output.schema: is required\n  try: schema: {type: object}",
    ),
    "a default below its minimum": (
        "  max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}",
        "  max_tags: {type: integer, default: 0, minimum: 1, maximum: 100}",
        "model.yaml:11:29: params.max_tags.default: must be at least minimum, 1 (got 0)\n  try: default: 1",
    ),
    "a maximum below its minimum": (
        "  max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}",
        "  max_tags: {type: integer, default: 30, minimum: 50, maximum: 10}",
        "model.yaml:11:29: params.max_tags.default: must be at least minimum, 50 (got 30)\n  try: default: 50\n"
        "model.yaml:11:55: params.max_tags.maximum: must be at least minimum, 50 (got 10)",
    ),
    "an integer param with a fraction": (
        "  max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}",
        "  max_tags: {type: integer, default: 1.5}",
        "model.yaml:11:29: params.max_tags.default: must be a whole number (got 1.5)\n  try: default: 30",
    ),
    "a param of an unknown type": (
        "  max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}",
        "  max_tags: {type: int, default: 30}",
        'model.yaml:11:14: params.max_tags.type: must be integer, number, boolean or string (got "int")\n  try: type: integer',
    ),
    "a param with a strange name": (
        "  max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}",
        "  Max-Tags: {type: integer, default: 30}",
        "model.yaml:11:3: params.Max-Tags: a parameter's name is 1 to 64 of a-z, 0-9 and _, beginning with a letter"
        "\n  try: max_tags: {type: integer, default: 30, minimum: 1, maximum: 100}",
    ),
    "weights that are pickle": (
        "path: weights/tags.safetensors",
        "path: weights/tags.pt",
        "model.yaml:13:6: weights[0].path: must be safetensors or ONNX (.safetensors, .onnx, .onnx.data)"
        ' (got "weights/tags.pt")\n  try: path: weights/model.safetensors',
    ),
    "weights that are not there": (
        "path: weights/tags.safetensors",
        "path: weights/tag.safetensors",
        "model.yaml:13:6: weights[0].path: there is no such file in the package's folder"
        ' (got "weights/tag.safetensors")\n  try: weights/tags.safetensors',
    ),
    "weights outside the folder": (
        "path: weights/tags.safetensors",
        "path: ../weights/tags.safetensors",
        "model.yaml:13:6: weights[0].path: must stay inside the package's folder, without .."
        ' (got "../weights/tags.safetensors")\n  try: weights/tags.safetensors',
    ),
    "weights by an absolute path": (
        "path: weights/tags.safetensors",
        "path: /tags.safetensors",
        "model.yaml:13:6: weights[0].path: must be relative to the package's folder"
        ' (got "/tags.safetensors")\n  try: weights/tags.safetensors',
    ),
    "a digest that is none": (
        '"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',
        "abc",
        "model.yaml:13:38: weights[0].sha256: must be 64 lower-case hexadecimal digits, in quotes"
        ' (got "abc")\n  try: the first word that `sha256sum FILE` prints',
    ),
    "a batch of nothing": (
        "batching: {max_size: 8, max_wait_ms: 0, in_flight: 1}",
        "batching: {max_size: 0}",
        "model.yaml:14:12: batching.max_size: must be from 1 to 1024 (got 0)\n  try: max_size: 1",
    ),
    "three batches in flight": (
        "batching: {max_size: 8, max_wait_ms: 0, in_flight: 1}",
        "batching: {in_flight: 3}",
        "model.yaml:14:12: batching.in_flight: must be from 1 to 2 (got 3)\n  try: in_flight: 2",
    ),
    "a gate without places": (
        "slo: {p99_ms: 250}",
        "gate: {max_pending: 0}",
        "model.yaml:15:8: gate.max_pending: must be from 1 to 100000 (got 0)\n  try: max_pending: 1",
    ),
    "a promise of no time": (
        "slo: {p99_ms: 250}",
        "slo: {p99_ms: 0}",
        "model.yaml:15:7: slo.p99_ms: must be more than 0 (got 0)",
    ),
    "a number as text": (
        "slo: {p99_ms: 250}",
        'slo: {p99_ms: "250"}',
        'model.yaml:15:7: slo.p99_ms: must be a number (got "250")',
    ),
    "an endless watchdog": (
        "slo: {p99_ms: 250}",
        "watchdog_s: .inf",
        "model.yaml:15:1: watchdog_s: must be a finite number (got .inf)\n  try: watchdog_s: 30",
    ),
    "an unknown device": (
        "resources: {device: auto, gpu_memory_mb: 3000}",
        "resources: {device: tpu}",
        'model.yaml:16:13: resources.device: must be auto, gpu or cpu (got "tpu")\n  try: device: auto',
    ),
    "a section left empty": (
        "slo: {p99_ms: 250}",
        "slo:",
        "model.yaml:15:1: slo: must be a map (got nothing)\n  try: slo: {p99_ms: 500}",
    ),
    "no examples": (
        "examples:\n  - {image: examples/beach.jpg, expect: examples/beach.json, tolerance: 0.02}",
        "examples: []",
        "model.yaml:17:1: examples: must have at least 1 entry (got an empty list)"
        "\n  try: examples: [{image: examples/beach.jpg, expect: examples/beach.json, tolerance: 0.01}]",
    ),
    "an example without its answer": (
        "expect: examples/beach.json, ",
        "",
        "model.yaml:18:5: examples[0].expect: is required\n  try: expect: examples/beach.json",
    ),
    "an example without its image": (
        "image: examples/beach.jpg, ",
        "",
        "model.yaml:18:5: examples[0].image: is required\n  try: image: examples/beach.jpg",
    ),
    "an example of a tensor for an image model": (
        "image: examples/beach.jpg, ",
        "tensor: examples/x.npy, ",
        'model.yaml:18:6: examples[0].tensor: an example of an image model has no tensor (got "examples/x.npy")\n  try: image',
    ),
    "a tolerance that allows anything": (
        "tolerance: 0.02",
        "tolerance: 0.5",
        "model.yaml:18:62: examples[0].tolerance: must be at most 0.1: scores and confidences lie between 0 and 1 (got 0.5)"
        "\n  try: tolerance: 0.01",
    ),
    "a negative tolerance": (
        "tolerance: 0.02",
        "tolerance: -1",
        "model.yaml:18:62: examples[0].tolerance: must be at least 0 (got -1)\n  try: tolerance: 0.01",
    ),
}


@pytest.mark.parametrize(("there", "instead", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_place_its_rule_and_a_way_out(
    tmp_path: Path, there: str, instead: str, expected: str
) -> None:
    assert there in GOOD
    assert refused(make_package(tmp_path, GOOD.replace(there, instead))) == expected


def test_all_mistakes_of_a_manifest_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    broken = (
        GOOD.replace("name: tags", "name: Tags")
        .replace("kind: image", "kind: photo")
        .replace("0.02", "7")
        .replace("p99_ms", "p9")
    )
    with pytest.raises(ManifestError) as caught:
        load_manifest(make_package(tmp_path, broken))
    assert [mistake.path for mistake in caught.value.mistakes] == [
        "name",
        "input.kind",
        "slo.p9",
        "examples[0].tolerance",
    ]
    assert [mistake.line for mistake in caught.value.mistakes] == [2, 8, 15, 18]


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


def test_a_manifest_that_is_missing_says_so(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith("model.yaml: there is no such file\n  try: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crema: 1\n  name: tags\n", "model.yaml:2:7: mapping values are not allowed here"),
        ("crema: [1\n", "model.yaml:2:1: "),
        (
            "crema: &one 1\nname: *one\n",
            "model.yaml:2:7: aliases (`*name`) are not read here\n  try: write the value in the alias's place",
        ),
        ("crema: 1\n---\ncrema: 1\n", "model.yaml:2:1: "),
        ("crema: !!python/name:os.system 1\n", "model.yaml:1:8: "),
        ("[" * 20_000, "model.yaml:1:1: nested too deeply"),
        ("crema: " + "9" * 5000, "model.yaml:1:1: this is not YAML"),
        ("- 1\n", "model.yaml:1:1: must be a map (got a list)\n  try: lines of `KEY: VALUE`"),
    ],
)
def test_what_is_not_plain_yaml_is_one_mistake(tmp_path: Path, text: str, expected: str) -> None:
    message = refused(make_package(tmp_path, text))
    assert message.startswith(expected)
    assert message.count("model.yaml:") == 1


def test_keys_that_yaml_reads_as_something_else_are_named(tmp_path: Path) -> None:
    message = refused(make_package(tmp_path, GOOD + "on: true\n"))
    expected = "model.yaml:19:1: on: a key must be text in quotes here: YAML reads it as a number, a boolean or nothing (got on)"
    assert message == expected + '\n  try: "on":'


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
