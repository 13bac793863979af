"""Refusals: a package that got no traffic gets none by a restart either."""

from __future__ import annotations

from pathlib import Path

from crema.host.package_paths import package_digest
from deploy.refusals import Refusal, Refusals, without_refused
from tests.deploy.toy_cluster import resolved, write_package


def refused(folder: Path, version: str) -> Refusals:
    packages = folder / "model_packages"
    kept = Refusals(folder / "refused.json", packages)
    digest = package_digest(packages / "toy" / version)
    kept.keep(Refusal("toy", version, "golden: wrong", "Traceback", digest))
    return Refusals(folder / "refused.json", packages)


def test_a_refusal_is_remembered_until_the_package_changes(tmp_path: Path) -> None:
    write_package(tmp_path, "toy", "1.1")
    assert [each.problem for each in refused(tmp_path, "1.1")] == ["golden: wrong"]
    (tmp_path / "model_packages" / "toy" / "1.1" / "model.py").write_text("class Toy: repaired = True\n")
    assert list(Refusals(tmp_path / "refused.json", tmp_path / "model_packages")) == []


def test_a_refusal_is_forgotten_when_it_is_told_so(tmp_path: Path) -> None:
    write_package(tmp_path, "toy", "1.1")
    kept = refused(tmp_path, "1.1")
    kept.forget("toy@1.1")
    assert "toy@1.1" not in kept
    assert list(Refusals(tmp_path / "refused.json", tmp_path / "model_packages")) == []


def test_the_newest_version_of_an_unnamed_model_is_the_newest_that_was_not_refused(tmp_path: Path) -> None:
    for version in ("1.0", "1.1"):
        write_package(tmp_path, "toy", version)
    cluster = without_refused(resolved(tmp_path), refused(tmp_path, "1.1"))
    assert cluster.models["toy"].default == "1.0"


def test_what_the_cluster_file_names_is_served_all_the_same(tmp_path: Path) -> None:
    write_package(tmp_path, "toy", "1.1")
    cluster = resolved(tmp_path, 'models: {toy: {versions: {"1.1": {}}}}\n')
    assert without_refused(cluster, refused(tmp_path, "1.1")).models["toy"].default == "1.1"


def test_a_file_that_is_none_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    (tmp_path / "refused.json").write_text("[7]")
    assert list(Refusals(tmp_path / "refused.json", tmp_path)) == []
