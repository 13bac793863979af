"""The command lines of the tiers, and what they inherit."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from crema.host.config import Address, ClusterConfig, CoordinatorConfig, FetchConfig, Ports
from deploy.child import Command
from deploy.gpus import Placement
from deploy.tiers import (
    SharedDoor,
    Surroundings,
    bench_command,
    coordinator_arguments,
    coordinator_command,
    minion_command,
    preprocessor_command,
)

AROUND = Surroundings("warning", Path("/scratch"))


def option(command: Command, name: str) -> str:
    return command.argv[command.argv.index(name) + 1]


CPU = Placement("cpu")


def minion(ports: Ports, replica: int = 0, placement: Placement = CPU, warmup: Path | None = None) -> Command:
    return minion_command(
        Path("/p/tags/3.1"), Path("/e/bin/python"), ports, replica, placement, warmup, AROUND
    )


def test_a_tier_is_run_by_our_own_python_from_where_our_packages_lie() -> None:
    command = preprocessor_command(Ports(), 0, "auto", AROUND)
    assert command.argv[:3] == (sys.executable, "-m", "preprocessor")
    assert (command.cwd / "preprocessor").is_dir() or (command.cwd / "crema").is_dir()
    assert (option(command, "--workers"), option(command, "--log-level")) == ("auto", "warning")


def test_what_may_be_fetched_is_handed_over_only_where_fetching_is_switched_on() -> None:
    hosts = {"hosts": ("a.example", "store.internal:9000"), "allow_private": ("10.1.0.0/16",)}
    off = preprocessor_command(Ports(), 0, "auto", AROUND, FetchConfig(**hosts))
    on = preprocessor_command(Ports(), 0, "auto", AROUND, FetchConfig(enabled=True, **hosts))
    assert not any(argument.startswith("--fetch") for argument in off.argv)
    assert on.argv[-6:] == (
        *("--fetch-host", "a.example", "--fetch-host", "store.internal:9000"),
        *("--fetch-private", "10.1.0.0/16"),
    )


def test_a_coordinator_takes_urls_only_where_fetching_is_switched_on() -> None:
    assert "--fetch" not in coordinator_arguments(ClusterConfig())
    assert "--fetch" in coordinator_arguments(
        ClusterConfig(fetch=FetchConfig(enabled=True, hosts=("a.example",)))
    )


def test_inner_ports_are_free_ones_on_loopback_unless_they_are_fixed() -> None:
    free = minion(Ports(), replica=2)
    assert (option(free, "--channel"), option(free, "--http")) == ("127.0.0.1:0", "127.0.0.1:0")


def test_fixed_ports_of_further_replicas_follow_in_steps_of_two() -> None:
    fixed = minion(Ports(channel=7000, http=7001), replica=2)
    assert (option(fixed, "--channel"), option(fixed, "--http")) == ("127.0.0.1:7004", "127.0.0.1:7005")


def test_a_minion_on_the_cpu_sees_no_gpu() -> None:
    command = minion(Ports())
    assert (option(command, "--device"), command.env["CUDA_VISIBLE_DEVICES"]) == ("cpu", "")


def test_a_minion_on_a_gpu_sees_that_one_only() -> None:
    command = minion(Ports(), placement=Placement("cuda:0", "GPU-b"))
    assert (option(command, "--device"), command.env["CUDA_VISIBLE_DEVICES"]) == ("cuda:0", "GPU-b")


def test_warm_up_tensors_are_handed_over_when_there_are_any() -> None:
    assert "--warmup" not in minion(Ports()).argv
    assert option(minion(Ports(), warmup=Path("/w.npz")), "--warmup") == "/w.npz"


def coordinator(door: SharedDoor | None = None) -> Command:
    listen, operations = Address("127.0.0.1", 8000), Address("127.0.0.1", 8001)
    return coordinator_command(Path("/r.json"), listen, operations, AROUND, (), door)


def test_a_coordinator_alone_listens_for_itself() -> None:
    alone = coordinator()
    assert option(alone, "--listen") == "127.0.0.1:8000"
    assert (alone.fds, "--listen-fd" in alone.argv) == ((), False)
    assert "PROMETHEUS_MULTIPROC_DIR" not in alone.env


def test_one_of_several_coordinators_inherits_the_listeners_and_the_folder_of_the_figures() -> None:
    with socket.socket() as public, socket.socket() as operations:
        command = coordinator(door=SharedDoor(public, operations, Path("/figures")))
        assert command.fds == (public.fileno(), operations.fileno())
        assert option(command, "--listen-fd") == str(public.fileno())
        assert option(command, "--operations-fd") == str(operations.fileno())
    assert command.env["PROMETHEUS_MULTIPROC_DIR"] == "/figures"


def test_a_coordinator_alone_has_its_figures_for_itself() -> None:
    with socket.socket() as public, socket.socket() as operations:
        command = coordinator(door=SharedDoor(public, operations))
        assert command.fds == (public.fileno(), operations.fileno())
    assert "PROMETHEUS_MULTIPROC_DIR" not in command.env


def test_a_sample_of_the_log_is_handed_over_when_it_is_one() -> None:
    assert "--log-sample" not in coordinator_arguments(ClusterConfig())
    sampled = coordinator_arguments(ClusterConfig(coordinator=CoordinatorConfig(log_sample=0.1)))
    assert sampled[sampled.index("--log-sample") + 1] == "0.1"


def test_both_front_tiers_are_told_the_formats_that_are_switched_on() -> None:
    around = Surroundings("warning", Path("/scratch"), ("heic", "tiff"))
    listen, operations = Address("127.0.0.1", 8000), Address("127.0.0.1", 8001)
    assert option(preprocessor_command(Ports(), 0, 1, around), "--formats") == "heic,tiff"
    coordinator = coordinator_command(Path("/r.json"), listen, operations, around)
    assert option(coordinator, "--formats") == "heic,tiff"
    assert "--formats" not in preprocessor_command(Ports(), 0, 1, AROUND).argv


def test_children_write_bytecode_and_keep_their_temporary_files_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = minion(Ports())
    assert "PYTHONDONTWRITEBYTECODE" not in command.env
    assert command.env["TMPDIR"] == "/scratch"


def test_the_cluster_token_is_inherited_and_never_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREMA_CLUSTER_TOKEN", "hush")
    command = minion(Ports())
    assert command.env["CREMA_CLUSTER_TOKEN"] == "hush"
    assert not any("hush" in argument for argument in command.argv)


def test_a_measured_curve_is_handed_over_when_there_is_one() -> None:
    command = minion_command(
        Path("/p/tags/3.1"), Path("/e/bin/python"), Ports(), 0, CPU, None, AROUND, Path("/c.json")
    )
    assert option(command, "--curve") == "/c.json"
    assert "--curve" not in minion(Ports()).argv


def test_what_measures_a_version_runs_it_where_its_minion_would() -> None:
    command = bench_command(Path("/p"), Path("/e/bin/python"), Placement("cuda:0", "GPU-b"), Path("/w.npz"))
    assert command.argv[:3] == (sys.executable, "-m", "minion.bench")
    assert (option(command, "--device"), command.env["CUDA_VISIBLE_DEVICES"]) == ("cuda:0", "GPU-b")
    assert (option(command, "--python"), option(command, "--warmup")) == ("/e/bin/python", "/w.npz")
