"""The mistakes of a `model.yaml`, each by the exact text that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.manifest import ManifestError, load_manifest
from tests.crema.host.manifest_packages import GOOD, make_package, refused

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


def test_a_tensor_that_does_not_fit_a_frame_is_refused_by_its_bytes_whatever_the_batch(
    tmp_path: Path,
) -> None:
    image = "input: {kind: image, size: [224, 160], fit: cover, filter: bilinear}"
    text = GOOD.replace(image, "input: {kind: tensor, shape: [20, 1000000], dtype: float32}")
    text = text.replace("max_size: 8", "max_size: 1").replace(
        "image: examples/beach.jpg", "tensor: examples/x.npy"
    )
    assert refused(make_package(tmp_path, text)) == (
        "model.yaml:8:23: input.shape: must describe a tensor of at most 64 MiB (got [20, 1000000])\n  try: shape: [512]"
    )


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
