"""Images: what those of a cluster are called, and the shell lines that build them. Builds nothing itself.

An image's tag is made of what goes into it, so that changed contents are a new image and unchanged ones are none.
"""

from __future__ import annotations

import functools
import hashlib
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from crema import __version__
from crema.host.config import ResolvedCluster, ResolvedVersion
from crema.host.package_paths import file_sha256, package_digest
from deploy.kubernetes.names import COORDINATOR, MINION, PREPROCESSOR, model_name
from deploy.kubernetes.settings import RenderSettings
from envs.lock_file import found_locks
from envs.uv import sources

SOURCE: Final = Path(__file__).resolve().parents[2]
FILES: Final = Path(__file__).resolve().parent
PACKAGES: Final = "/opt/crema/packages"
"""Where a minion's image holds its package, as MODEL/VERSION."""
PYTHON: Final = "/opt/crema/environment/bin/python"
"""Of the model's environment in a minion's image."""

_DIGITS: Final = 12
# What a plain package index has are the builds for CUDA; the profile `cpu` comes from elsewhere.
_ON_CPU: Final = ("cpu", "pypi")

_SCRIPT: Final = """\
#!/bin/sh
# The images of {file}. BUILD is the tool with its options (docker buildx build --load), PUSH what sends an image away.
set -eu
: "${{BUILD:=buildah bud --layers}}"
cd {source}
"""


class CannotBuild(Exception):
    """An image that cannot be built from what is here; the text says why and what to do."""


def lock_profile(version: ResolvedVersion, settings: RenderSettings) -> str:
    """The profile whose lock a version's environment is built from. Raises CannotBuild."""
    named = f"{version.manifest.name}@{version.version}"
    locks = found_locks(version.package_dir)
    if settings.profile is not None:
        if settings.profile not in locks:
            raise CannotBuild(
                f"{named} has no requirements.{settings.profile}.lock; there {_are(locks)}\n"
                f"  try: crema lock {version.package_dir}, or another --profile"
            )
        return settings.profile
    if not locks:
        raise CannotBuild(f"{named} has no lock\n  try: crema lock {version.package_dir}")
    if settings.is_on_gpu(version):
        # one that is named after a CUDA release first, never the CPU builds
        fitting = [*(name for name in locks if name not in _ON_CPU), *(["pypi"] if "pypi" in locks else [])]
        if not fitting:
            raise CannotBuild(
                f"{named} gets a GPU, and its only lock is for the CPU\n"
                f"  try: crema lock {version.package_dir} --profile pypi, or leave --gpu out"
            )
        return fitting[0]
    return next((name for name in _ON_CPU if name in locks), next(iter(locks)))


def coordinator_image(settings: RenderSettings) -> str:
    """The coordinator's image, `PREFIX/coordinator:TAG`."""
    return _tier_image(COORDINATOR, settings)


def preprocessor_image(settings: RenderSettings) -> str:
    """The preprocessor's image."""
    return _tier_image(PREPROCESSOR, settings)


def minion_image(version: ResolvedVersion, settings: RenderSettings) -> str:
    """The image of one version's minion, `PREFIX/minion-MODEL:TAG`. Raises CannotBuild."""
    profile = lock_profile(version, settings)
    tag = settings.tag
    if tag is None:
        digest = _digest([*_sources(MINION), profile, package_digest(version.package_dir)])
        tag = f"{version.version}-{digest}"
    else:
        tag = f"{version.version}-{tag}"
    return f"{settings.image_prefix}/{MINION}-{model_name(version.manifest.name)}:{tag}"


def build_script(cluster: ResolvedCluster, settings: RenderSettings, base_image: str | None = None) -> str:
    """A shell script that builds every image of the cluster. Raises CannotBuild."""
    if not (SOURCE / "requirements.lock").is_file():
        raise CannotBuild("images are built from a checkout of crema\n  try: run the `crema` of a checkout")
    base = [] if base_image is None else ["--build-arg", f"BASE_IMAGE={base_image}"]
    lines = [_SCRIPT.format(file=cluster.config.path.name, source=shlex.quote(str(SOURCE)))]
    for component, image in (
        (COORDINATOR, coordinator_image(settings)),
        (PREPROCESSOR, preprocessor_image(settings)),
    ):
        lines.append(_line(component, image, base))
    for model in cluster.models.values():
        for version in model.versions:
            profile = lock_profile(version, settings)
            arguments = [
                *base,
                "--build-arg", f"MODEL={model.name}",
                "--build-arg", f"VERSION={version.version}",
                "--build-arg", f"PROFILE={profile}",
                *_find_links(profile),
                "--build-context", f"package={version.package_dir}",
            ]  # fmt: skip
            lines.append(_line(MINION, minion_image(version, settings), arguments))
    return "".join(lines)


def _line(component: str, image: str, arguments: Iterable[str]) -> str:
    file = (FILES / f"{component}.Containerfile").relative_to(SOURCE)
    build = shlex.join(["-f", str(file), *arguments, "-t", image, "."])
    return f'$BUILD {build}\n[ -z "${{PUSH:-}}" ] || $PUSH {shlex.quote(image)}\n'


def _find_links(profile: str) -> list[str]:
    """Where else the builds of a profile are looked for: where `crema up` looks. A folder is lent to the build."""
    places = sources(profile).find_links
    folders = [place for place in places if Path(place).is_dir()]
    given = ["--build-arg", f"UV_FIND_LINKS={','.join(places)}"] if places else []
    return [*given, *(part for folder in folders for part in ("--volume", f"{folder}:{folder}:ro"))]


def _tier_image(component: str, settings: RenderSettings) -> str:
    tag = settings.tag or f"{__version__}-{_digest(_sources(component))}"
    return f"{settings.image_prefix}/{component}:{tag}"


@functools.cache
def _sources(component: str) -> tuple[str, ...]:
    """What of crema itself goes into a tier's image, as digests."""
    files = (SOURCE / "requirements.lock", FILES / f"{component}.Containerfile")
    return (
        package_digest(SOURCE / "crema"),
        package_digest(SOURCE / component),
        # an installed crema comes without its lock: then its version says which that is
        *(file_sha256(path) if path.is_file() else __version__ for path in files),
    )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]


def _are(locks: Iterable[str]) -> str:
    names = sorted(locks)
    return f"are {', '.join(names)}" if len(names) > 1 else f"is {names[0]}" if names else "is none"
