"""One real cluster for tests: `crema up` in a folder of its own, on free ports, ended without a process left over.

    with running_cluster(tmp_path, [echo_package]) as cluster:
        cluster.post(photo, models="bright")

Use it as it is, or through the fixtures of `conftest`. Everything waits for a condition and is bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from deploy.running_cluster import NotRunning, find_cluster
from deploy.state_folder import StateFolder

PATIENCE_S = 60.0
# A coordinator that was called lately takes calls for five more seconds when it is stopped.
STOP_S = 32.0

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class RunningCluster:
    """A cluster that `crema up` serves. `output` is what it has printed so far."""

    folder: Path
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    seen: set[int] = field(default_factory=set)
    """Every pid that was ever shown, so that each of them can be asserted to be gone."""

    @property
    def cluster_file(self) -> Path:
        return self.folder / "cluster.yaml"

    @property
    def output(self) -> str:
        return (self.folder / "up.log").read_text(encoding="utf-8", errors="replace")

    # -- asking --------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The status document, from the control socket."""
        document = find_cluster(self.cluster_file).status()
        self.seen.update(process["pid"] for process in document["processes"] if process["pid"])
        return document

    @property
    def url(self) -> str:
        """The public API's."""
        return str(self.status()["urls"]["api"])

    @property
    def operations_url(self) -> str:
        return str(self.status()["urls"]["metrics"])

    def processes(self, tier: str, role: str | None = None, model: str | None = None) -> list[dict[str, Any]]:
        """The entries of the status document that fit; `role` None means: those without a role."""
        return [
            process
            for process in self.status()["processes"]
            if process["tier"] == tier
            and process.get("role") == role
            and model in (None, process.get("model"))
        ]

    def pids(self, tier: str, role: str | None = None, model: str | None = None) -> list[int]:
        """Of the processes that fit and run."""
        return [process["pid"] for process in self.processes(tier, role, model) if process["pid"]]

    def port(self, tier: str, name: str, role: str | None = None, model: str | None = None) -> int:
        """A port of the first process that fits."""
        return int(self.processes(tier, role, model)[0]["ports"][name])

    def routing(self) -> dict[str, Any]:
        """The routing file as it is now."""
        return json.loads((self.folder / ".crema" / "routing.json").read_bytes())  # type: ignore[no-any-return]

    def log(self, name: str) -> str:
        """The log of a process: `coordinator-0`, `preprocessor-0`, `NAME@VERSION-0`, `supervisor`."""
        return (self.folder / ".crema" / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def post(
        self,
        photo: bytes,
        *,
        timeout_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
        **options: object,
    ) -> tuple[int, dict[str, Any]]:
        """`POST /v1/analyze` with a photo as the body: (status, body). A new connection each time."""
        query = urlencode({name: str(value) for name, value in options.items()}, safe=",@")
        request = urllib.request.Request(
            f"{self.url}/v1/analyze?{query}",
            data=photo,
            headers={"Content-Type": "application/octet-stream", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.loads(refusal.read())

    def crema(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a verb in the cluster's folder."""
        return subprocess.run(
            [sys.executable, "-m", "crema.cli", *arguments],
            cwd=self.folder, env=dict(self.environment), capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip

    # -- waiting -------------------------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> float:
        """Wait until the condition holds; returns the seconds it took. A condition that raises NotRunning is false."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(NotRunning, ConnectionError, urllib.error.URLError):
                if condition():
                    return time.monotonic() - began
            if time.monotonic() - began > timeout_s:
                raise AssertionError(f"waited {timeout_s:.0f} s for {what}\n{self.story()}")
            if self.process.poll() is not None:
                raise AssertionError(
                    f"`crema up` ended with {self.process.returncode} before {what}\n{self.story()}"
                )
            time.sleep(0.05)

    def wait_serving(self, timeout_s: float = PATIENCE_S) -> None:
        """Until every version is ready or has failed, and the API says so."""
        self.wait(lambda: self.status()["state"] == "ready", "the cluster to serve", timeout_s)

    def wait_all_ready(self, timeout_s: float = PATIENCE_S) -> float:
        """Until every process of the status document is ready. Returns the seconds it took."""
        return self.wait(self.is_all_ready, "every process to be ready", timeout_s)

    def is_all_ready(self) -> bool:
        """Whether every process is ready (a minion with something to do is `busy`)."""
        return all(process["state"] in ("ready", "busy") for process in self.status()["processes"])

    # -- ending --------------------------------------------------------------------------------------------------------

    def stop(self, timeout_s: float = STOP_S) -> int:
        """Ctrl-C, and wait for the end. Returns the exit code."""
        if self.process.poll() is None:
            with contextlib.suppress(NotRunning):
                self.status()
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout_s)

    def kill_supervisor(self) -> None:
        """kill -9 of `crema up` itself."""
        self.status()
        self.process.kill()
        self.process.wait(10)

    def left_over(self) -> list[str]:
        """The command lines of processes that this cluster showed, or that name its folder, and that still live."""
        return sorted({*map(_command, filter(is_alive, self.seen)), *_naming(self.folder)})

    def assert_nothing_left(self, within_s: float = 5.0) -> None:
        """Every process of this cluster has ended, or ends within `within_s`."""
        deadline = time.monotonic() + within_s
        while left := self.left_over():
            if time.monotonic() > deadline:
                raise AssertionError("still alive:\n" + "\n".join(left))
            time.sleep(0.05)

    def assert_nothing_left_of(self, pids: Iterable[int], within_s: float = 5.0) -> None:
        """Those processes have ended, or end within `within_s`."""
        deadline = time.monotonic() + within_s
        while left := [_command(pid) for pid in pids if is_alive(pid)]:
            if time.monotonic() > deadline:
                raise AssertionError("still alive:\n" + "\n".join(left))
            time.sleep(0.05)

    def story(self) -> str:
        """What there is to read when something went wrong: what was printed, and the end of every log."""
        told = [self.output]
        for path in sorted((self.folder / ".crema" / "logs").glob("*.log")):
            told.append(f"-- {path.name}\n" + path.read_text(encoding="utf-8", errors="replace")[-2000:])
        return "\n".join(told)


def start_cluster(
    folder: Path,
    packages: Iterable[Path] = (),
    *,
    cluster_yaml: str = "",
    python: Path | None = Path(sys.executable),
    arguments: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> RunningCluster:
    """`crema up` in `folder`, not waited for.

    `packages` (…/NAME/VERSION) are copied to its packages folder. `cluster_yaml` is added to listeners on free ports.
    All workers run on `python`; None builds their environments. Who calls this stops it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        target = folder / "model_packages" / package.parent.name / package.name
        if target != package:
            shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "model_packages").mkdir(exist_ok=True)
    listeners = 'coordinator: {listen: "127.0.0.1:0", operations: "127.0.0.1:0"}\n'
    if not (folder / "cluster.yaml").exists():
        (folder / "cluster.yaml").write_text(
            ("" if "coordinator:" in cluster_yaml else listeners) + cluster_yaml
        )
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    surroundings.pop("CREMA_ENV_PYTHON", None)
    if python is not None:
        surroundings["CREMA_ENV_PYTHON"] = str(python)
    with (folder / "up.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "crema.cli", "up", *arguments],
            cwd=folder, env=surroundings, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    return RunningCluster(folder, process, surroundings)


@contextlib.contextmanager
def running_cluster(
    folder: Path, packages: Iterable[Path] = (), *, patience_s: float = PATIENCE_S, **options: Any
) -> Iterator[RunningCluster]:
    """`start_cluster`, waited for until it serves, and stopped. Asserts that no process is left."""
    cluster = start_cluster(folder, packages, **options)
    try:
        cluster.wait_serving(patience_s)
        yield cluster
        assert cluster.stop() == 0, cluster.story()
        cluster.assert_nothing_left()
    finally:
        end(cluster)


def end(cluster: RunningCluster) -> None:
    """Whatever happened: leave nothing running."""
    if cluster.process.poll() is None:
        with contextlib.suppress(NotRunning):
            cluster.status()
        cluster.process.send_signal(signal.SIGTERM)
        try:
            cluster.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            cluster.process.kill()
            cluster.process.wait(10)
    for pid in filter(is_alive, cluster.seen):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # the next start of a killed cluster would remove it, and there is none
    shutil.rmtree(StateFolder(cluster.folder / ".crema").scratch, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        return (
            f"{pid} "
            + Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode("utf-8", "replace")
            .strip()
        )
    except OSError:
        return str(pid)


def _naming(folder: Path) -> list[str]:
    """Processes with the cluster's folder in their command line or as the place of their working directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid != os.getpid() and is_alive(pid) and str(folder) in _command(pid):
            found.append(_command(pid))
    return found
