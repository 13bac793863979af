"""The command line of each tier's process. The only place that knows how tiers are started; it starts none."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crema.host.config import Address, ClusterConfig, FetchConfig, Ports
from crema.host.metrics import SHARED_FOLDER_VARIABLE
from crema.host.tier import TOKEN_VARIABLE
from crema.names import OptionalFormat
from deploy.child import Command
from deploy.gpus import Placement

LOOPBACK: Final = "127.0.0.1"

# The folder that holds the packages `crema`, `coordinator`, `minion` and `preprocessor`: a checkout or site-packages.
_ROOT: Final = Path(__file__).resolve().parent.parent


def cluster_token() -> str | None:
    """The token of this machine's channels, which the tiers inherit through the environment."""
    return os.environ.get(TOKEN_VARIABLE) or None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all processes of a cluster share: how much they log, the folder for their temporary files, and the image
    formats that are switched on."""

    log_level: str
    scratch: Path
    formats: tuple[OptionalFormat, ...] = ()


def preprocessor_command(
    ports: Ports, replica: int, workers: int | str, around: Surroundings, fetch: FetchConfig | None = None
) -> Command:
    """Replica number `replica` (from 0) of the preprocessor; `fetch` says what it may fetch by URL."""
    return _command(
        "preprocessor", around,
        "--channel", _inner(ports.channel, replica),
        "--http", _inner(ports.http, replica),
        "--workers", str(workers),
        *fetch_arguments(fetch),
        *_formats(around),
    )  # fmt: skip


def fetch_arguments(fetch: FetchConfig | None) -> tuple[str, ...]:
    """What tells a preprocessor to fetch images by URL; nothing, where that is switched off."""
    if fetch is None or not fetch.enabled:
        return ()
    hosts = (each for host in fetch.hosts for each in ("--fetch-host", host))
    networks = (each for network in fetch.allow_private for each in ("--fetch-private", network))
    return (*hosts, *networks)


def minion_command(
    package_dir: Path,
    python: Path,
    ports: Ports,
    replica: int,
    placement: Placement,
    warmup: Path | None,
    around: Surroundings,
    curve: Path | None = None,
) -> Command:
    """Replica number `replica` (from 0) of a version's minion, its worker run by `python`."""
    command = _command(
        "minion", around,
        "--package", str(package_dir),
        "--python", str(python),
        "--channel", _inner(ports.channel, replica),
        "--http", _inner(ports.http, replica),
        "--device", placement.device,
        *(("--warmup", str(warmup)) if warmup is not None else ()),
        *(("--curve", str(curve)) if curve is not None else ()),
    )  # fmt: skip
    return Command(command.argv, command.cwd, {**command.env, "CUDA_VISIBLE_DEVICES": placement.visible})


def bench_command(package_dir: Path, python: Path, placement: Placement, warmup: Path | None) -> Command:
    """The process that measures a version: its worker is run by `python`, as a minion's would be."""
    argv = (
        sys.executable, "-m", "minion.bench",
        "--package", str(package_dir),
        "--python", str(python),
        "--device", placement.device,
        *(("--warmup", str(warmup)) if warmup is not None else ()),
    )  # fmt: skip
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": placement.visible}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return Command(argv, _ROOT, environment)


@dataclass(frozen=True, slots=True)
class SharedDoor:
    """What all coordinator processes have in common, those that follow one another too: two listening sockets, and, of
    several at once, the folder of their figures."""

    public: socket.socket
    operations: socket.socket
    metrics: Path | None = None

    def close(self) -> None:
        """Let go of the sockets; the processes have them still."""
        self.public.close()
        self.operations.close()


def coordinator_command(
    routing: Path,
    listen: Address,
    operations: Address,
    around: Surroundings,
    configured: tuple[str, ...] = (),
    door: SharedDoor | None = None,
) -> Command:
    """One process of the coordinator; with `door` it listens there, with a health port of its own. `configured` is of
    `coordinator_arguments`."""
    command = _command(
        "coordinator", around,
        "--routing", str(routing),
        "--listen", str(listen),
        "--operations", str(operations),
        *configured,
        *_formats(around),
    )  # fmt: skip
    if door is None:
        return command
    fds = (door.public.fileno(), door.operations.fileno())
    argv = (
        *command.argv,
        "--listen-fd", str(fds[0]),
        "--operations-fd", str(fds[1]),
        "--http", f"{LOOPBACK}:0",
    )  # fmt: skip
    figures = {} if door.metrics is None else {SHARED_FOLDER_VARIABLE: str(door.metrics)}
    return Command(argv, command.cwd, {**command.env, **figures}, fds)


def coordinator_arguments(
    config: ClusterConfig, keys_file: str | None = None, processes: int | None = None
) -> tuple[str, ...]:
    """What `cluster.yaml` says of a coordinator: who may call it, what it takes, what it logs. No secrets: keys are in
    a file. `keys_file` and `processes` stand for the file's own where the cluster runs elsewhere."""
    coordinator = config.coordinator
    processes = processes or coordinator.processes
    return (
        "--keys", keys_file or str(config.keys_file),
        *(part for host in coordinator.hosts for part in ("--host", host)),
        *(("--processes", str(processes)) if processes > 1 else ()),
        *(("--insecure",) if config.insecure else ()),
        *(("--log-sample", str(coordinator.log_sample)) if coordinator.log_sample < 1 else ()),
        *(("--fetch",) if config.fetch.enabled else ()),
    )  # fmt: skip


def _command(tier: str, around: Surroundings, *arguments: str) -> Command:
    # `-m` finds the tier in the working directory first: ours, and not a folder of the user's that is called like it
    argv = (sys.executable, "-m", tier, "--log-level", around.log_level, *arguments)
    return Command(argv, _ROOT, _environment(around.scratch))


def _formats(around: Surroundings) -> tuple[str, ...]:
    return ("--formats", ",".join(around.formats)) if around.formats else ()


def _environment(scratch: Path) -> dict[str, str]:
    inherited = dict(os.environ)
    # what a killed process leaves lies where the next start removes it
    inherited["TMPDIR"] = str(scratch)
    # bytecode halves the time that a model's imports take
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    # only processes that are one tier together share their figures
    inherited.pop(SHARED_FOLDER_VARIABLE, None)
    return inherited


def _inner(fixed: int, replica: int) -> str:
    """Where an inner port listens: loopback, and a free port unless the cluster file fixes the first one."""
    return f"{LOOPBACK}:{fixed + 2 * replica if fixed else 0}"
