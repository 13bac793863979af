"""crema/host/connection_limits.py: counts of connections, in all and per address."""

from __future__ import annotations

import resource

import pytest

from crema.host import connection_limits
from crema.host.connection_limits import ConnectionLimits, max_connections


@pytest.fixture
def descriptors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The limit of descriptors, to be changed."""
    soft = [10_000]
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft[0], soft[0]))
    return soft


@pytest.mark.parametrize(
    ("soft", "most"), [(128, 64), (100, 36), (1024, 512), (20, 16), (10**6, 16_384), (-1, 16_384)]
)
def test_half_of_the_descriptors_and_64_spare(descriptors: list[int], soft: int, most: int) -> None:
    descriptors[0] = soft
    assert max_connections() == most


def test_one_address_holds_half_of_the_cap() -> None:
    limits = ConnectionLimits(100)
    assert [limits.admit("10.0.0.1") for _ in range(51)] == [True] * 50 + [False]
    assert limits.admit("10.0.0.2")
    assert limits.count == 51
    limits.leave("10.0.0.1")
    assert limits.admit("10.0.0.1")


def test_one_address_holds_2048_at_most(descriptors: list[int]) -> None:
    limits = ConnectionLimits()
    assert sum(limits.admit("10.0.0.1") for _ in range(3000)) == connection_limits.MAX_PER_ADDRESS


def test_a_network_of_ipv6_is_one_address() -> None:
    limits = ConnectionLimits(40)
    assert sum(limits.admit(f"2001:db8::{n:x}") for n in range(40)) == 20
    assert limits.admit("2001:db8:0:1::1")
    assert limits.admit("::ffff:10.0.0.1")
    assert limits.admit("fe80::1%eth0")


def test_addresses_that_left_are_forgotten() -> None:
    limits = ConnectionLimits(40)
    for n in range(30):
        limits.admit(f"10.0.0.{n}")
    for n in range(30):
        limits.leave(f"10.0.0.{n}")
    assert limits.count == 0
    assert limits._by_address == {}


def test_a_limit_that_is_lowered_while_it_runs_is_kept_at_once(descriptors: list[int]) -> None:
    limits = ConnectionLimits()
    for n in range(70):
        assert limits.admit(f"10.0.0.{n}")
    descriptors[0] = 128
    assert not limits.admit("10.0.1.1")
    descriptors[0] = 10_000
    assert limits.admit("10.0.1.1")


def test_a_crowd_is_512_or_half_of_what_fits() -> None:
    limits = ConnectionLimits(100)
    assert [limits.is_crowded for n in range(51) if limits.admit(f"10.0.0.{n}")].index(True) == 49
