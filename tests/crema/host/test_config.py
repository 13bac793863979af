"""`cluster.yaml`: what a good one becomes, and what it resolves to beside its packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from crema.host.config import Address, load_cluster
from tests.crema.host.cluster_files import (
    GOOD,
    MANIFEST,
    put_package,
    put_packages,
    resolved,
    written,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put_packages(tmp_path)
    return tmp_path


def test_a_broken_manifest_that_is_not_served_stops_nothing(folder: Path) -> None:
    (folder / "models/captions/1.9/model.yaml").write_text("nonsense")
    assert resolved(folder, GOOD).models["captions"].default == "1.10"


def test_a_broken_newest_version_of_a_model_nobody_names_is_refused_and_the_one_before_serves(
    folder: Path,
) -> None:
    put_package(folder / "models", "embeddings", "1.0")
    put_package(folder / "models", "embeddings", "1.1", MANIFEST.replace("type: score", "type: number"))
    cluster = resolved(folder, GOOD)
    assert cluster.models["embeddings"].default == "1.0"
    [package] = cluster.refused
    assert (package.name, package.version) == ("embeddings", "1.1")
    assert package.problem.startswith("embeddings/1.1/model.yaml:7:10: output.type: must be ")


def test_a_model_nobody_names_without_one_good_version_is_only_refused(folder: Path) -> None:
    put_package(folder / "models", "embeddings", "1.0", "nonsense")
    cluster = resolved(folder, GOOD)
    assert "embeddings" not in cluster.models
    assert [package.name for package in cluster.refused] == ["embeddings"]


def test_a_good_file_is_read(folder: Path) -> None:
    config = load_cluster(written(folder, GOOD))
    assert config.coordinator.listen == Address("127.0.0.1", 8000)
    assert config.packages_dir == folder / "models"
    assert config.path == folder / "cluster.yaml"
    assert (config.preprocessor.replicas.min, config.preprocessor.replicas.max) == (1, 1)
    assert config.preprocessor.workers == "auto"
    assert config.default_models == ("tags", "captions")


def test_a_cluster_resolves_to_versions_with_their_packages(folder: Path) -> None:
    tags = resolved(folder, GOOD).models["tags"]
    assert (tags.default, tags.labels) == ("3.1", {"candidate": "3.2"})
    shown = [(one.version, one.replicas_min, one.replicas_max, one.canary_percent) for one in tags.versions]
    assert shown == [("3.1", 1, 4, None), ("3.2", 1, 1, 5.0)]
    assert tags.versions[0].package_dir == folder / "models/tags/3.1"
    assert tags.versions[0].manifest.name == "tags"


def test_a_model_that_is_not_named_serves_its_newest_version(folder: Path) -> None:
    captions = resolved(folder, GOOD).models["captions"]
    assert captions.default == "1.10"
    assert [version.version for version in captions.versions] == ["1.10"]


@pytest.mark.parametrize(
    ("section", "default", "served"),
    [
        ("{}", "3.2", ["3.2"]),
        ('{default: "3.1"}', "3.1", ["3.1"]),
        ('{labels: {stable: "3.1"}}', "3.2", ["3.1", "3.2"]),
        ('{versions: {"3.1": {}}}', "3.1", ["3.1"]),
        ('{versions: {"3.1": {}, "3.2": {}}}', "3.2", ["3.1", "3.2"]),
        ('{versions: {"3.1": {}, "3.2": {canary: 0.5%}}}', "3.1", ["3.1", "3.2"]),
    ],
)
def test_what_a_section_leaves_out_is_filled_in(
    folder: Path, section: str, default: str, served: list[str]
) -> None:
    tags = resolved(folder, f"packages: models\nmodels: {{tags: {section}}}\n").models["tags"]
    assert tags.default == default
    assert [version.version for version in tags.versions] == served


def test_an_empty_file_means_the_defaults(folder: Path) -> None:
    (folder / "models").rename(folder / "model_packages")
    cluster = resolved(folder, "")
    assert sorted(cluster.models) == ["captions", "tags"]
    assert cluster.default_models == ()
    assert str(cluster.config.coordinator.listen) == "127.0.0.1:8000"


def test_two_free_ports_are_not_one_address(folder: Path) -> None:
    text = GOOD.replace("127.0.0.1:8000", "127.0.0.1:0").replace("127.0.0.1:8001", "127.0.0.1:0")
    assert load_cluster(written(folder, text)).coordinator.operations.port == 0


def test_inner_ports_can_be_fixed(folder: Path) -> None:
    text = 'packages: models\nmodels: {tags: {versions: {"3.1": {ports: {channel: 7000, http: 7001}}}}}\n'
    ports = resolved(folder, text).models["tags"].versions[0].ports
    assert (ports.channel, ports.http) == (7000, 7001)


def test_a_minimum_alone_is_also_the_maximum(folder: Path) -> None:
    text = 'packages: models\nmodels: {tags: {versions: {"3.1": {replicas: {min: 3}}}}}\n'
    version = resolved(folder, text).models["tags"].versions[0]
    assert (version.replicas_min, version.replicas_max) == (3, 3)


def test_the_file_of_this_repository_has_no_mistakes() -> None:
    config = load_cluster(Path(__file__).parents[3] / "cluster.yaml")
    assert config.default_models == ("tags", "aesthetics", "captions")


def test_formats_are_switched_on_by_name(folder: Path) -> None:
    config = load_cluster(written(folder, GOOD.replace("workers: auto", "formats: [tiff, avif]")))
    assert config.preprocessor.formats == ("tiff", "avif")
