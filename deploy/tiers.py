"""The command line of each tier's process. The only place that knows how tiers are started; it starts none."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crema.host.config import Address, Ports
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


def preprocessor_command(ports: Ports, replica: int, workers: int | str, around: Surroundings) -> Command:
    """Replica number `replica` (from 0) of the preprocessor."""
    return _command(
        "preprocessor", around,
        "--channel", _inner(ports.channel, replica),
        "--http", _inner(ports.http, replica),
        "--workers", str(workers),
        *_formats(around),
    )  # fmt: skip


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


def coordinator_command(
    routing: Path, listen: Address, operations: Address, shares_port: bool, around: Surroundings
) -> Command:
    """One process of the coordinator; with `shares_port` several listen on the one public port."""
    return _command(
        "coordinator", around,
        "--routing", str(routing),
        "--listen", str(listen),
        "--operations", str(operations),
        *(("--reuse-port",) if shares_port else ()),
        *_formats(around),
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
    return inherited


def _inner(fixed: int, replica: int) -> str:
    """Where an inner port listens: loopback, and a free port unless the cluster file fixes the first one."""
    return f"{LOOPBACK}:{fixed + 2 * replica if fixed else 0}"
