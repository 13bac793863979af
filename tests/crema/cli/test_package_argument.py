"""What PKG means on a command line."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from crema.cli.package_argument import folder_of


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    package = tmp_path / "packs" / "dusk" / "1.0"
    package.mkdir(parents=True)
    (package / "model.yaml").write_text("crema: 1\n")
    file = tmp_path / "cluster.yaml"
    file.write_text("packages: packs\ndefault_models: [dusk]\n")
    return file


def test_a_name_is_found_in_a_cluster_file_that_waits_for_another_package(cluster: Path) -> None:
    cluster.write_text('packages: packs\ndefault_models: [dawn]\nmodels: {noon: {default: "1.0"}}\n')
    assert folder_of("dusk", cluster) == cluster.parent / "packs" / "dusk" / "1.0"


def test_a_cluster_file_that_does_not_say_where_packages_lie_is_told(cluster: Path) -> None:
    cluster.write_text("packages: [packs]\n")
    with pytest.raises(click.ClickException, match=r"cluster\.yaml:1:1: packages"):
        folder_of("dusk", cluster)


def test_a_package_that_is_not_there_is_wrong_use_and_says_what_is(cluster: Path) -> None:
    with pytest.raises(click.UsageError, match=r"no package dawn; there are: dusk@1\.0"):
        folder_of("dawn", cluster)
