"""The mistakes of a `cluster.yaml`, each by the exact text that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.config import ConfigError, load_cluster
from tests.crema.host.cluster_files import (
    GOOD,
    put_packages,
    refused,
    resolved,
    written,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put_packages(tmp_path)
    return tmp_path


# (a piece of the good file, what stands there instead, the whole text of the error)
MISTAKES = {
    "an unknown section": (
        "packages: models",
        "packages: models\nmodel: {}",
        "cluster.yaml:4:1: model: there is no such key; did you mean models?\n  try: models",
    ),
    "an unknown key of the coordinator": (
        "processes: 1",
        "process: 1",
        "cluster.yaml:1:71: coordinator.process: there is no such key; did you mean processes?\n  try: processes",
    ),
    "an unknown key of a version": (
        "{replicas: 1, canary: 5%}",
        "{replica: 1}",
        'cluster.yaml:11:15: models.tags.versions."3.2".replica: there is no such key; did you mean replicas?\n  try: replicas',
    ),
    "a listener without a port": (
        '"127.0.0.1:8000"',
        "localhost",
        'cluster.yaml:1:15: coordinator.listen: must be HOST:PORT in quotes (got "localhost")\n  try: listen: "127.0.0.1:8000"',
    ),
    "a port that is none": (
        '"127.0.0.1:8000"',
        '"127.0.0.1:80000"',
        "cluster.yaml:1:15: coordinator.listen: the port must be 0 (a free one) to 65535"
        ' (got "127.0.0.1:80000")\n  try: listen: "127.0.0.1:8000"',
    ),
    "a listener beyond loopback": (
        '"127.0.0.1:8000"',
        '"0.0.0.0:8000"',
        "cluster.yaml:1:15: coordinator.listen: beyond loopback anyone who reaches this port may call the models,"
        ' and there is no valid API key (got "0.0.0.0:8000")'
        "\n  try: crema keys new --name app --scopes infer, which makes one and shows it once;"
        ' or "127.0.0.1:8000"; or insecure: true',
    ),
    "one address for both listeners": (
        '"127.0.0.1:8001"',
        '"127.0.0.1:8000"',
        'cluster.yaml:1:41: coordinator.operations: must be another address than listen (got "127.0.0.1:8000")'
        '\n  try: operations: "127.0.0.1:8001"',
    ),
    "no coordinator at all": (
        "processes: 1",
        "processes: 0",
        "cluster.yaml:1:71: coordinator.processes: must be from 1 to 64 (got 0)\n  try: processes: 1",
    ),
    "decode workers in words": (
        "workers: auto",
        "workers: many",
        'cluster.yaml:2:29: preprocessor.workers: must be auto or a number from 1 to 256 (got "many")\n  try: workers: auto',
    ),
    "a format that does not exist": (
        "workers: auto",
        "formats: [jxl]",
        'cluster.yaml:2:39: preprocessor.formats[0]: must be avif, bmp, heic or tiff (got "jxl")\n  try: one of avif, bmp, heic, tiff',
    ),
    "a switch in words": (
        "packages: models",
        "packages: models\ninsecure: perhaps",
        'cluster.yaml:4:1: insecure: must be true or false (got "perhaps")\n  try: insecure: true',
    ),
    "a packages folder that is not there": (
        "packages: models",
        "packages: nowhere",
        'cluster.yaml:3:1: packages: there is no such folder beside the file (got "nowhere")\n  try: packages: model_packages',
    ),
    "a default model that does not exist": (
        "[tags, captions]",
        "[tags, caption]",
        'cluster.yaml:4:24: default_models[1]: there is no such model (got "caption")\n  try: captions',
    ),
    "a default model given twice": (
        "[tags, captions]",
        "[tags, tags]",
        'cluster.yaml:4:24: default_models[1]: is there twice (got "tags")\n  try: remove one of them',
    ),
    "a model that does not exist": (
        "  tags:",
        "  taggs:",
        'cluster.yaml:6:3: models.taggs: there is no folder models/taggs with a package (got "taggs")\n  try: tags',
    ),
    "a model's name that is none": (
        "  tags:",
        "  Tags!:",
        'cluster.yaml:6:3: models."Tags!": a model\'s name is 1 to 64 of a-z, 0-9, dot, dash, underscore,'
        " beginning with a letter or digit\n  try: tags:",
    ),
    "versions that are a list": (
        '    versions:\n      "3.1": {replicas: {min: 1, max: 4}}\n      "3.2": {replicas: 1, canary: 5%}',
        '    versions: ["3.1"]',
        "cluster.yaml:9:5: models.tags.versions: must be a map (got a list)"
        '\n  try: versions: {"3.1": {replicas: 1}}, or remove the key to serve the newest',
    ),
    "no version at all": (
        '    default: "3.1"\n    labels: {candidate: "3.2"}\n    versions:\n      "3.1": {replicas: {min: 1, max: 4}}'
        '\n      "3.2": {replicas: 1, canary: 5%}',
        "    versions: {}",
        "cluster.yaml:7:5: models.tags.versions: must list at least one version (got an empty map)"
        '\n  try: versions: {"3.1": {replicas: 1}}, or remove the key to serve the newest',
    ),
    "a version without a package": (
        '"3.2": {replicas: 1, canary: 5%}',
        '"3.2": {replicas: 1, canary: 5%}\n      "3.3": {replicas: 1}',
        'cluster.yaml:12:7: models.tags.versions."3.3": there is no package of this version (there are 3.1, 3.2)'
        ' (got "3.3")\n  try: "3.2":',
    ),
    "a version in other words": (
        '"3.2": {replicas: 1, canary: 5%}',
        '"3.2": {replicas: 1, canary: 5%}\n      latest: {replicas: 1}',
        "cluster.yaml:12:7: models.tags.versions.latest: a version is MAJOR.MINOR in plain digits"
        ' (got "latest")\n  try: "3.1":',
    ),
    "a version without quotes": (
        '      "3.1": {replicas',
        "      3.1: {replicas",
        'cluster.yaml:10:7: models.tags.versions."3.1": a key must be text in quotes here: YAML reads it as a number,'
        ' a boolean or nothing (got 3.1)\n  try: "3.1":',
    ),
    "a default without quotes": (
        'default: "3.1"',
        "default: 3.10",
        'cluster.yaml:7:5: models.tags.default: must be text, in quotes (got 3.10)\n  try: default: "3.10"',
    ),
    "a default that is not served": (
        'default: "3.1"',
        'default: "3.0"',
        'cluster.yaml:7:5: models.tags.default: must be among versions (3.1, 3.2) (got "3.0")\n  try: default: "3.2"',
    ),
    "a label of a version that is not served": (
        'candidate: "3.2"',
        'candidate: "4.0"',
        'cluster.yaml:8:14: models.tags.labels.candidate: must be among versions (3.1, 3.2) (got "4.0")'
        '\n  try: candidate: "3.2"',
    ),
    "a label like a version": (
        'candidate: "3.2"',
        '"3": "3.2"',
        'cluster.yaml:8:14: models.tags.labels."3": a label is 1 to 64 of a-z, 0-9, dash and underscore,'
        ' beginning with a letter\n  try: candidate: "3.2"',
    ),
    "no replicas": (
        "{replicas: 1, canary",
        "{replicas: 0, canary",
        'cluster.yaml:11:15: models.tags.versions."3.2".replicas: must be from 1 to 256 (got 0)'
        "\n  try: replicas: 1, or replicas: {min: 1, max: 4}",
    ),
    "a maximum of no replicas": (
        "max: 4",
        "max: 0",
        'cluster.yaml:10:34: models.tags.versions."3.1".replicas.max: must be from 1 to 256 (got 0)\n  try: max: 1',
    ),
    "a maximum below the minimum": (
        "min: 1, max: 4",
        "min: 3, max: 2",
        'cluster.yaml:10:34: models.tags.versions."3.1".replicas.max: must be at least min, 3 (got 2)'
        "\n  try: max: 3, or remove the line to use min",
    ),
    "replicas in words": (
        "{replicas: 1, canary",
        "{replicas: many, canary",
        'cluster.yaml:11:15: models.tags.versions."3.2".replicas: must be a whole number or {min: …, max: …} (got "many")'
        "\n  try: replicas: 1, or replicas: {min: 1, max: 4}",
    ),
    "a share without its sign": (
        "canary: 5%",
        "canary: 5",
        'cluster.yaml:11:28: models.tags.versions."3.2".canary: must be a share with its sign (got 5)\n  try: canary: 5%',
    ),
    "a share of more than everything": (
        "canary: 5%",
        "canary: 101%",
        'cluster.yaml:11:28: models.tags.versions."3.2".canary: must be more than 0% and at most 100% (got "101%")'
        "\n  try: canary: 5%",
    ),
    "a canary that is the default": (
        'default: "3.1"',
        'default: "3.2"',
        'cluster.yaml:11:28: models.tags.versions."3.2".canary: the default version has no canary share:'
        ' it gets what the others leave (got "5%")\n  try: remove the line, or set default to the version before',
    ),
    "nothing but canaries": (
        '    default: "3.1"\n    labels: {candidate: "3.2"}\n    versions:\n      "3.1": {replicas: {min: 1, max: 4}}\n',
        "    versions:\n",
        "cluster.yaml:7:5: models.tags.versions: every version is a canary, so none is left for the rest"
        "\n  try: remove canary from the version that callers get today",
    ),
    "a port that is text": (
        "workers: auto",
        "ports: {channel: high}",
        'cluster.yaml:2:37: preprocessor.ports.channel: must be a whole number (got "high")'
        "\n  try: ports: {channel: 7000, http: 7001}",
    ),
}


@pytest.mark.parametrize(("there", "instead", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_place_its_rule_and_a_way_out(
    folder: Path, there: str, instead: str, expected: str
) -> None:
    assert there in GOOD
    assert refused(folder, GOOD.replace(there, instead)) == expected


def test_all_mistakes_of_shape_and_of_names_come_at_once(folder: Path) -> None:
    text = GOOD.replace("replicas: 1, workers", "replicas: 0, workers").replace(
        "[tags, captions]", "[tags, photos]"
    )
    text = text.replace('"3.2": {', '"3.3": {').replace("processes: 1", "processes: 1, tls: true")
    with pytest.raises(ConfigError) as caught:
        load_cluster(written(folder, text))
    assert [(mistake.line, mistake.path) for mistake in caught.value.mistakes] == [
        (1, "coordinator.tls"),
        (2, "preprocessor.replicas"),
        (4, "default_models[1]"),
        (8, "models.tags.labels.candidate"),
        (11, 'models.tags.versions."3.3"'),
    ]


def test_the_mistakes_of_all_served_manifests_come_at_once(folder: Path) -> None:
    for package in ("tags/3.1", "captions/1.10"):
        manifest = folder / "models" / package / "model.yaml"
        manifest.write_text(manifest.read_text().replace("type: score", "type: number"))
    with pytest.raises(ConfigError) as caught:
        resolved(folder, GOOD)
    places = [str(mistake).partition(": ")[0] for mistake in caught.value.mistakes]
    assert places == ["captions/1.10/model.yaml:7:10", "tags/3.1/model.yaml:7:10"]


def test_a_file_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^cluster\.yaml: there is no such file\n  try: create cluster\.yaml"
    ):
        load_cluster(tmp_path / "cluster.yaml")


@pytest.mark.parametrize("host", ["http://example.com", "a b", "example.com:80", "", "*.example.com"])
def test_a_host_is_a_name_alone(folder: Path, host: str) -> None:
    text = GOOD.replace("processes: 1}", f'processes: 1, hosts: ["{host}"]}}')
    assert "must be a name without scheme and port" in refused(folder, text)


def test_heic_without_its_package_is_refused_with_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crema.host.image_signatures.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"heic needs the package pillow-heif[\s\S]*uv pip install pillow-heif"
    ):
        load_cluster(written(folder, GOOD.replace("workers: auto", "formats: [heic]")))
