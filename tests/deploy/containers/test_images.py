"""What images are called, which lock goes into them, and the script that builds them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crema.host.config import ResolvedVersion
from deploy.containers import images
from deploy.containers.images import CannotBuild, build_script, lock_profile, minion_image
from deploy.kubernetes.settings import RenderSettings
from tests.deploy.kubernetes.site import cluster, rendered, write_lock, write_version
from tests.deploy.toy_cluster import resolved

HEADS = ("coordinator", "preprocessor", "minion")


def version(
    folder: Path, resources: str = "{device: cpu}", profiles: tuple[str, ...] = ("pypi",)
) -> ResolvedVersion:
    write_version(folder, "tags", "3.1", resources, profiles)
    return resolved(folder).models["tags"].versions[0]


@pytest.mark.parametrize(
    ("profiles", "resources", "gpu", "chosen"),
    [
        (("cpu", "pypi", "cu130"), "{device: cpu}", False, "cpu"),
        (("pypi", "cu130"), "{device: cpu}", False, "pypi"),
        (("cu130",), "{device: cpu}", False, "cu130"),
        (("cpu", "pypi", "cu130"), "{device: gpu}", False, "cu130"),
        (("cpu", "pypi"), "{device: gpu}", False, "pypi"),
        (("cpu", "pypi"), "{device: auto}", False, "cpu"),
        (("cpu", "pypi"), "{device: auto}", True, "pypi"),
    ],
)
def test_the_lock_fits_the_device(
    tmp_path: Path, profiles: tuple[str, ...], resources: str, gpu: bool, chosen: str
) -> None:
    assert lock_profile(version(tmp_path, resources, profiles), RenderSettings(gpu=gpu)) == chosen


def test_a_package_without_a_lock_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match="crema lock"):
        lock_profile(version(tmp_path, profiles=()), RenderSettings())


def test_a_profile_that_a_package_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match=r"no requirements\.cu130\.lock; there is pypi"):
        lock_profile(version(tmp_path), RenderSettings(profile="cu130"))


def test_a_model_on_a_gpu_never_gets_the_builds_for_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match="--profile pypi"):
        lock_profile(version(tmp_path, "{device: gpu}", ("cpu",)), RenderSettings())


def test_changed_contents_are_a_new_image_and_unchanged_ones_are_none(tmp_path: Path) -> None:
    found, settings = version(tmp_path), RenderSettings()
    before = minion_image(found, settings)
    assert before == minion_image(found, settings)
    (found.package_dir / "model.py").write_text("class Toy: 'another'\n")
    after = minion_image(found, settings)
    assert before != after
    assert before.startswith("localhost/crema/minion-tags:3.1-")
    write_lock(tmp_path, "tags", "3.1", "cu130")
    assert after != minion_image(found, settings)


def test_a_tag_of_ones_own_keeps_the_versions_apart(tmp_path: Path) -> None:
    settings = RenderSettings(image_prefix="registry.example.com/photos", tag="build-7")
    assert minion_image(version(tmp_path), settings) == "registry.example.com/photos/minion-tags:3.1-build-7"
    assert images.coordinator_image(settings) == "registry.example.com/photos/coordinator:build-7"


def test_the_script_builds_exactly_the_images_that_the_manifests_name(tmp_path: Path) -> None:
    found, settings = cluster(tmp_path), RenderSettings(image_prefix="registry.example.com/photos")
    script = build_script(found, settings)
    named = {
        container["image"]
        for (kind, _), each in rendered(found, image_prefix="registry.example.com/photos").items()
        if kind == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    built = {line.split()[-2] for line in script.splitlines() if line.startswith("$BUILD")}
    assert built == named


def test_the_script_takes_another_tool_and_pushes_where_it_is_told_to(tmp_path: Path) -> None:
    script = build_script(cluster(tmp_path), RenderSettings(), base_image="debian:mine")
    done = subprocess.run(
        ["sh"],
        input=script, env={"PATH": "/usr/bin:/bin", "BUILD": "echo built", "PUSH": "echo pushed"},
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["built", "pushed"] * 4
    assert all("--build-arg BASE_IMAGE=debian:mine" in line for line in lines if line.startswith("built"))


def test_builds_that_the_index_lacks_are_looked_for_where_crema_up_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_FIND_LINKS", f"{tmp_path} https://wheels.example.com/cpu")
    version(tmp_path, profiles=("cpu",))
    (line,) = (
        each for each in build_script(resolved(tmp_path), RenderSettings()).splitlines() if "MODEL" in each
    )
    assert (
        f"UV_FIND_LINKS={tmp_path},https://wheels.example.com/cpu --volume {tmp_path}:{tmp_path}:ro" in line
    )
    write_lock(tmp_path, "tags", "3.1", "pypi")
    plain = build_script(resolved(tmp_path), RenderSettings(profile="pypi"))
    assert "UV_FIND_LINKS" not in plain


# -- the files ---------------------------------------------------------------------------------------------------------


def lines_of(name: str) -> list[str]:
    return (images.FILES / f"{name}.Containerfile").read_text().splitlines()


def head(name: str) -> list[str]:
    lines = lines_of(name)
    begin = next(index for index, line in enumerate(lines) if line.startswith("# -- the same in all three"))
    end = next(index for index, line in enumerate(lines) if line.startswith("# -- until here"))
    return lines[begin:end]


def final_stage(name: str) -> list[str]:
    lines = lines_of(name)
    return lines[max(index for index, line in enumerate(lines) if line.startswith("FROM ")) :]


def test_the_shared_head_is_the_same_so_that_its_layers_are_shared() -> None:
    assert head("coordinator") == head("preprocessor") == head("minion")


@pytest.mark.parametrize("name", HEADS)
def test_an_image_runs_as_nobody_behind_an_init(name: str) -> None:
    stage = final_stage(name)
    assert "USER 10001:10001" in stage
    assert stage[-1] == f'ENTRYPOINT ["/usr/bin/tini", "--", "/opt/crema/venv/bin/python", "-m", "{name}"]'


@pytest.mark.parametrize("name", HEADS)
def test_no_address_of_an_index_reaches_an_image(name: str) -> None:
    assert not [line for line in final_stage(name) if "INDEX" in line or line.startswith("ARG")]


def test_the_environment_lies_below_everything_that_changes_more_often() -> None:
    copied = [line.split()[-1] for line in final_stage("minion") if line.startswith("COPY")]
    assert copied == [
        "/opt/crema/environment",
        "/opt/crema/venv",
        "/opt/crema/source/crema",
        "/opt/crema/source/minion",
        "/opt/crema/packages",
    ]


@pytest.mark.parametrize("name", HEADS)
def test_a_tiers_image_holds_no_other_tier(name: str) -> None:
    copied = {
        line.split()[1] for line in final_stage(name) if line.startswith("COPY") and "--from" not in line
    }
    assert copied == {"crema", name}


def test_only_what_images_need_is_sent_to_the_builder() -> None:
    ignored = (images.SOURCE / ".containerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == {"requirements.lock", "crema", *HEADS}
    assert (images.SOURCE / ".dockerignore").read_text().splitlines() == ignored
