"""Doctor: what would keep a cluster from serving on this machine, one finding per thing looked at. It changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from crema.compiled import is_compiled
from crema.host.config import ClusterConfig, ConfigError, ResolvedCluster, load_cluster, resolve_cluster
from crema.host.development import PYTHON_VARIABLE
from crema.host.packages import find_packages
from deploy.gpus import find_gpus
from deploy.running_cluster import NotRunning, find_cluster

LEAST_FREE_BYTES: Final = 2_000_000_000
LEAST_DESCRIPTORS: Final = 1024

State = Literal["ok", "note", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `problem` says what is wrong and what to do; empty when nothing is."""

    state: State
    what: str
    detail: str = ""
    problem: str = ""


def examine(cluster_file: Path) -> Iterator[Finding]:
    """Look at this machine and at the cluster of this file, one thing after the other."""
    yield from _machine()
    yield _disk(cluster_file)
    if not cluster_file.is_file():
        yield Finding(
            "failed", "cluster", str(cluster_file), "there is no such file; try: crema doctor --cluster FILE"
        )
        return
    try:
        config = load_cluster(cluster_file)
        cluster = resolve_cluster(config)
    except ConfigError as error:
        yield Finding("failed", "cluster", str(cluster_file), f"it has mistakes\n{error}")
        return
    yield Finding("ok", "cluster", f"{cluster_file}: {len(cluster.models)} models")
    for package in cluster.refused:
        yield Finding("failed", package.label, "", package.problem)
    for folder, why in find_packages(config.packages_dir).odd:
        yield Finding("note", f"{folder.parent.name}/{folder.name}", "", f"its folder: {why}; try: rename it")
    yield from _environments(cluster)
    yield from _running(config)


def _machine() -> Iterator[Finding]:
    libc, release = platform.libc_ver()
    if sys.platform != "linux" or libc != "glibc" or platform.machine() not in ("x86_64", "aarch64"):
        yield Finding(
            "failed",
            "system",
            f"{sys.platform} {platform.machine()}",
            "crema runs on Linux with glibc, x86-64 or arm64",
        )
    else:
        yield Finding("ok", "system", f"Linux {platform.machine()}, glibc {release}, {os.cpu_count()} cores")
    yield Finding("ok", "python", f"{platform.python_version()}, {sys.executable}")
    if is_compiled():
        yield Finding("ok", "compiled", "all tiers run compiled modules")
    else:
        yield Finding(
            "note",
            "compiled",
            "all tiers run from their sources, at more CPU per call",
            "try: make compiled (it needs a C compiler and Python.h)",
        )
    gpus = find_gpus().gpus
    free = ", ".join(f"{gpu.free_mb} MB free" for gpu in gpus)
    yield Finding("ok", "gpus", f"{len(gpus)} ({free})" if gpus else "none: models run on the CPU")
    import resource

    descriptors, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors < LEAST_DESCRIPTORS:
        yield Finding(
            "note",
            "descriptors",
            str(descriptors),
            f"callers are refused beyond half of them; try: ulimit -n {most}",
        )


def _disk(cluster_file: Path) -> Finding:
    from envs.store import default_root

    place = default_root()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    shown = f"{free / 1e9:.1f} GB free at {place}"
    if not os.access(cluster_file.absolute().parent, os.W_OK):
        return Finding(
            "failed", "disk", shown, f"{cluster_file.absolute().parent} cannot be written: .crema/ lies there"
        )
    if free < LEAST_FREE_BYTES:
        return Finding("note", "disk", shown, "a virtualenv with torch takes 1 GB; try: crema env prune")
    return Finding("ok", "disk", shown)


def _environments(cluster: ResolvedCluster) -> Iterator[Finding]:
    """What each version's worker will run in."""
    if python := os.environ.get(PYTHON_VARIABLE):
        yield Finding(
            "note",
            "environments",
            python,
            f"{PYTHON_VARIABLE} is set: no version has its own; unset it to serve",
        )
        return
    from envs.builder import BuildError, choose_profile
    from envs.store import default_root, find_built, fingerprint
    from envs.uv import find_uv

    uv = find_uv()
    if uv is None:
        yield Finding(
            "note", "uv", "not here", "environments are built by pip, ten times slower; try: pip install uv"
        )
    else:
        yield Finding("ok", "uv", str(uv))
    for model in cluster.models.values():
        for version in model.versions:
            label = f"{model.name}@{version.version}"
            try:
                choice = choose_profile(version.package_dir)
            except BuildError as error:
                yield Finding("failed", label, "", str(error))
                continue
            name = fingerprint(choice.lock.content, choice.interpreter.platform)
            is_built = find_built(default_root(), name) is not None
            state = "built" if is_built else "will be built"
            yield Finding("ok", label, f"environment {name[:8]}, profile {choice.lock.profile}, {state}")


def _running(config: ClusterConfig) -> Iterator[Finding]:
    """The running cluster's troubles; where none runs, whether its ports are free."""
    try:
        status = find_cluster(config.path).status()
    except NotRunning:
        for key, address in (
            ("listen", config.coordinator.listen),
            ("operations", config.coordinator.operations),
        ):
            if address.port and _is_taken(address.host, address.port):
                yield Finding(
                    "failed",
                    f"port {address.port}",
                    f"coordinator.{key}",
                    f"another program has it; try: port 0, or ss -ltnp | grep {address.port}",
                )
            else:
                yield Finding("ok", f"port {address.port}", f"coordinator.{key}")
        return
    yield Finding("ok", "supervisor", f"runs, {status['state']}")
    for version in status["models"]:
        label = f"{version['model']}@{version['version']}"
        if version["state"] in ("failed", "degraded"):
            yield Finding("failed", label, version["state"], version.get("problem", "see: crema status"))


def _is_taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False
