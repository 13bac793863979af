"""Images built with buildah and manifests played by podman, without a daemon, a registry, or a trace left behind.

    with containers(tmp_path) as podman:
        podman.build(cluster_file)
        podman.play(folder / "tags-3-1.yaml", alias="tags-3-1")

Podman plays the Deployments of the very manifests that are meant for Kubernetes. What it cannot do (version 4.3) is taken
out of them by `playable`, and nothing else. Layers and the base image are kept in the user's cache, apart from the user's own
containers; who else wants them waits until they are free.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
import yaml

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crema-tests" / "containers"

TOOLS = ("podman", "buildah", "runc", "catatonit", "netavark", "aardvark-dns")
INSTALL = (
    "apt-get install --no-install-recommends podman buildah runc catatonit netavark aardvark-dns debootstrap"
)
# where Debian keeps those that nobody calls by hand
HIDDEN = "/usr/lib/podman:/usr/libexec/podman"

# sockets lie below it, whose paths must be short
RUN = Path("/run/crema-tests")
OTHERS_S = 400.0
MOST_IMAGES = 300
NETWORK_PREFIX = "crema-test-"
PREFIX = "localhost/crema-test"
BASE_IMAGE = "localhost/crema-test-base:bookworm-1"
BASE_PACKAGES = "python3,python3-venv,tini,ca-certificates"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
USER = 10001

ENGINE = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{graph}"
runroot = "{run}"
"""


def require_tools() -> None:
    """Skip, or fail where tools must be there, with what to install."""
    path = f"{os.environ.get('PATH', '')}:{HIDDEN}"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if not missing and os.getuid() == 0:
        return
    reason = (
        f"needs {', '.join(missing)}: {INSTALL}"
        if missing
        else "needs root: containers on a bridge of their own"
    )
    if os.environ.get("CREMA_REQUIRE_TOOLS"):
        pytest.fail(reason)
    pytest.skip(reason)


class Podman:
    """One network, and what was started on it. Use `containers`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = f"{NETWORK_PREFIX}{secrets.token_hex(4)}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(ENGINE)
        (folder / "storage.conf").write_text(STORAGE.format(graph=CACHE / "storage", run=RUN))
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            # for the folders that `run` commands of a build hand over
            "TMPDIR": str(folder),
        }
        self.images: set[str] = set()
        """What was built, as it is called."""

    def __call__(self, *arguments: str, patience_s: float = 60.0, given: str | None = None) -> str:
        """Run podman; returns what it printed."""
        return self._run(["podman", *arguments], patience_s, given)

    def _run(self, command: list[str], patience_s: float, given: str | None = None) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, input=given, capture_output=True, text=True, timeout=patience_s
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    # -- images --------------------------------------------------------------------------------------------------------

    def ensure_base(self) -> None:
        """A bare Debian with Python and tini, made once: there may be no registry to take one from."""
        if subprocess.run(["podman", "image", "exists", BASE_IMAGE], env=self.environment).returncode == 0:
            return
        root = self.folder / "base"
        mirror = os.environ.get("CREMA_TEST_DEBIAN", "http://deb.debian.org/debian")
        self._run(
            ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", str(root), mirror],
            600.0,
        )
        shutil.rmtree(root / "var/cache/apt/archives")
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run(
                ["podman", "import", "--quiet", "-", BASE_IMAGE],
                env=self.environment, stdin=packed.stdout, capture_output=True, check=True, timeout=120,
            )  # fmt: skip
        shutil.rmtree(root)

    def try_out(self) -> None:
        """Make the network and the base image, and run one program. Skips, with the reason, where the kernel lets nobody do so
        (a container without the rights for it) or no Debian mirror can be reached: that is no fault of what is tested."""
        try:
            self("network", "create", self.network)
            self.ensure_base()
            self("run", "--rm", "--network", self.network, BASE_IMAGE, "true")
        except (AssertionError, subprocess.SubprocessError) as error:
            pytest.skip(f"this machine runs no containers: {error}")

    def build(self, cluster_file: Path, only: str = "", patience_s: float = 300.0) -> None:
        """What a user does: `crema render images … | sh`. `only` leaves out the images whose names do not hold it."""
        script = crema(
            "render", "images", "-f", str(cluster_file), "--image-prefix", PREFIX, "--base-image", BASE_IMAGE
        )
        lines = [line for line in script.splitlines() if not line.startswith("$BUILD") or only in line]
        cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
        cache.mkdir(parents=True, exist_ok=True)
        build = f"buildah bud --quiet --layers --isolation chroot --volume {cache}:/var/cache/uv"
        if CERTIFICATES.is_file():
            build += f" --volume {CERTIFICATES}:{CERTIFICATES}:ro"
        self.environment["BUILD"] = build
        self._run(["sh", "-c", "\n".join(lines)], patience_s)
        self.images.update(line.split()[-2].strip("'") for line in lines if line.startswith("$BUILD"))

    def layers(self, image: str) -> list[str]:
        """The digests of an image's layers, the lowest first."""
        return list(json.loads(self("image", "inspect", image))[0]["RootFS"]["Layers"])

    # -- pods ----------------------------------------------------------------------------------------------------------

    def secret(self, name: str, key: str, base64: str) -> None:
        """A secret whose one key an environment variable can refer to."""
        self("secret", "create", name, "-", given=json.dumps({key: base64}))

    def play(self, manifest: Path, *, alias: str, config: Path | None = None) -> None:
        """`podman kube play`. `alias` is the name by which its Service is found."""
        maps = [] if config is None else ["--configmap", str(config)]
        self("kube", "play", "--network", f"{self.network}:alias={alias}", *maps, str(manifest))

    def stop(self, manifest: Path, container: str) -> None:
        """End what was played from `manifest` as Kubernetes does: SIGTERM to the container, and only when that has ended
        the pod with its network. (Podman alone ends both at once.)"""
        self("stop", "--time", "40", container)
        self("kube", "down", str(manifest))

    def address(self, pod: str) -> str:
        """The IP address of a pod."""
        infra = self("pod", "inspect", pod, "--format", "{{.InfraContainerID}}").strip()
        return self(
            "inspect", infra, "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        ).strip()

    def init_pid(self, container: str) -> int:
        """The process of a container that all others in it are children of, as this machine numbers it."""
        return int(self("inspect", container, "--format", "{{.State.Pid}}"))

    def story(self) -> str:
        """What every container logged last."""
        told = [self("ps", "-a", "--pod")]
        for name in self("ps", "-a", "--format", "{{.Names}}").split():
            done = subprocess.run(
                ["podman", "logs", "--tail", "30", name],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=30,
            )
            told.append(f"-- {name}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return "\n".join(told)

    def clear(self) -> None:
        """End all that runs, also what a killed test left, and keep only the cache of layers."""
        self("pod", "rm", "--all", "--force", "--time", "0", patience_s=120.0)
        self("volume", "rm", "--all", "--force")
        for name in self("secret", "ls", "--format", "{{.Name}}").split():
            self("secret", "rm", name)
        for name in self("network", "ls", "--format", "{{.Name}}").split():
            if name.startswith(NETWORK_PREFIX):
                self("network", "rm", "--force", name)

    def forget_old_layers(self) -> None:
        """Layers of other container files and locks than these are never used again; of many sources there are many."""
        parts = [
            ROOT / "requirements.lock",
            *sorted((ROOT / "deploy" / "containers").glob("*.Containerfile")),
        ]
        made_of = hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()
        stamp = CACHE / "made-of"
        found = set(self("images", "--all", "--quiet", "--no-trunc").split())
        if len(found) > MOST_IMAGES or not stamp.exists() or stamp.read_text() != made_of:
            old = found - set(self("images", "--quiet", "--no-trunc", BASE_IMAGE).split())
            if old:
                self("rmi", "--force", *old, patience_s=120.0)
            stamp.write_text(made_of)


@contextlib.contextmanager
def containers(folder: Path) -> Iterator[Podman]:
    """A network of its own, with the base image there; nothing is left of it but the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        wait_until(lambda: _is_locked(lock), f"{CACHE}, which other tests hold", OTHERS_S)
        podman = Podman(folder)
        podman.clear()
        podman.forget_old_layers()
        try:
            podman.try_out()
            yield podman
        finally:
            podman.clear()


def playable(
    manifest: Path, target: Path, *, suffix: str = "", folders: dict[str, Path] | None = None
) -> Path:
    """A manifest as podman 4.3 can play it, written to `target`. Of a Deployment's pods it takes out

    - `ports`: podman publishes each on this machine, where two pods cannot have the same one;
    - probes: podman runs them as commands in the container, with curl, which is not in the image;

    and puts the folders of this machine in the place of the Secrets named in `folders`, because podman mounts Secrets for
    everybody to read. A second replica gets a `suffix` to its name: podman starts one pod per Deployment.
    """
    documents = list(yaml.safe_load_all(manifest.read_text()))
    for document in documents:
        if document["kind"] != "Deployment":
            continue
        document["metadata"]["name"] += suffix
        pod = document["spec"]["template"]["spec"]
        for container in pod["containers"]:
            for key in ("ports", "livenessProbe", "readinessProbe"):
                del container[key]
        for volume in pod["volumes"]:
            name = volume.get("secret", {}).get("secretName")
            if folders and name in folders:
                del volume["secret"]
                volume["hostPath"] = {"path": str(folders[name]), "type": "Directory"}
    target.write_text(yaml.safe_dump_all(documents))
    return target


def _is_locked(lock: TextIO) -> bool:
    """Whether it is ours now: BlockingIOError, which `wait` takes for no, says that it is another's."""
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def crema(*arguments: str) -> str:
    """Run a verb; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "crema.cli", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def lock_of(names: tuple[str, ...]) -> str:
    """A lock of packages that crema's own lock pins, so that a toy has one without asking an index."""
    chosen, keeps = [], False
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            keeps = line.partition("==")[0] in names
        if keeps:
            chosen.append(line)
    return "# profile: pypi\n# python: >=3.11\n" + "\n".join(chosen) + "\n"


def as_user(path: Path, mode: int) -> None:
    """Give a file or folder to the user that the images run as."""
    os.chown(path, USER, USER)
    path.chmod(mode)
