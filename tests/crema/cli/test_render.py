"""`crema render`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crema.cli.main import run
from crema.cli.render_options import IMAGE_PREFIX
from tests.deploy.kubernetes.site import cluster, write_version
from tests.deploy.toy_cluster import resolved


def test_it_writes_the_folder_and_says_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster(tmp_path)
    output = tmp_path / "manifests"
    assert run(["render", "kubernetes", "-f", str(tmp_path / "cluster.yaml"), "-o", str(output)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == sorted(f"WRITTEN  {path}" for path in output.iterdir())


def test_programs_are_told_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster(tmp_path)
    output = tmp_path / "manifests"
    file = str(tmp_path / "cluster.yaml")
    assert run(["render", "kubernetes", "-f", file, "-o", str(output), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert sorted(written) == sorted(map(str, output.iterdir()))


def test_options_reach_the_manifests(tmp_path: Path) -> None:
    cluster(tmp_path)
    output = tmp_path / "manifests"
    options = ["--image-prefix", "registry.example.com/x", "--namespace", "photos", "--no-keda", "--tag", "7"]
    assert (
        run(["render", "kubernetes", "-f", str(tmp_path / "cluster.yaml"), "-o", str(output), *options]) == 0
    )
    text = (output / "tags-3-1.yaml").read_text()
    assert "image: registry.example.com/x/minion-tags:3.1-7" in text
    assert "namespace: photos" in text
    assert "ScaledObject" not in text


def test_a_version_without_a_lock_fails_with_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_version(tmp_path, "tags", "3.1", profiles=())
    resolved(tmp_path)
    output = tmp_path / "manifests"
    assert run(["render", "kubernetes", "-f", str(tmp_path / "cluster.yaml"), "-o", str(output)]) == 1
    assert "try: crema lock" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--image-prefix", "Registry/Photos"), ("--image-prefix", "a b"), ("--image-prefix", "registry/"), ("--tag", "a:b"),
        ("--namespace", "my_photos"), ("--namespace", "n" * 64), ("--monitoring-namespace", "-"), ("--prometheus", "prometheus:9090"),
    ],
)  # fmt: skip
def test_a_name_that_kubernetes_or_a_registry_would_refuse_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    cluster(tmp_path)
    output = tmp_path / "manifests"
    file = str(tmp_path / "cluster.yaml")
    assert run(["render", "kubernetes", "-f", file, "-o", str(output), option, value]) == 2
    assert "for instance" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    "prefix", ["localhost/crema", "registry.example.com:5000/a/b_c", "host", "10.0.0.1:5000/x-y.z"]
)
def test_a_registry_s_name_may_have_a_port_and_folders(prefix: str) -> None:
    assert IMAGE_PREFIX.convert(prefix, None, None) == prefix


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster(tmp_path)
    assert run(["render", "kubernetes", "-f", str(tmp_path / "cluster.yaml"), "-o", "/dev/null"]) == 1
    assert "name another folder" in capsys.readouterr().err


def test_a_mistake_in_the_cluster_file_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster(tmp_path)
    (tmp_path / "cluster.yaml").write_text("modells: {}\n")
    assert run(["render", "images", "-f", str(tmp_path / "cluster.yaml")]) == 1
    assert "cluster.yaml:1:1" in capsys.readouterr().err


def test_the_script_for_the_images_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster(tmp_path)
    assert run(["render", "images", "-f", str(tmp_path / "cluster.yaml")]) == 0
    assert capsys.readouterr().out.startswith("#!/bin/sh\n")


def test_without_a_cluster_file_it_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", "kubernetes", "-o", "manifests"]) == 2
    assert "cluster.yaml" in capsys.readouterr().err


def test_a_broken_package_that_nobody_names_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster(tmp_path)
    write_version(tmp_path, "scores", "1.0")
    (tmp_path / "model_packages" / "scores" / "1.0" / "model.yaml").write_text("crema: 1\n")
    output = tmp_path / "manifests"
    assert run(["render", "kubernetes", "-f", str(tmp_path / "cluster.yaml"), "-o", str(output)]) == 0
    assert capsys.readouterr().err.startswith("SKIPPED  scores@1.0  ")
    assert not (output / "scores-1-0.yaml").exists()
