"""Which addresses a fetch may connect to: the table, the networks an operator names, and the socket that is not made."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from crema.host.fetch_hosts import parse_network
from preprocessor.fetch_addresses import Addresses, AddressRefused

PUBLIC = (
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1",
    "169.253.255.255", "192.167.255.255", "198.17.255.255", "198.20.0.1", "223.255.255.255", "11.0.0.1", "126.255.255.255",
    "128.0.0.1", "2606:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888", "2400:cb00::1",
)  # fmt: skip

REFUSED = (
    # loopback, unspecified, private, link-local with the metadata services, carrier-grade NAT
    "127.0.0.1", "127.255.255.255", "0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.1", "10.255.255.255", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16",
    # special, documentation, benchmarks, relays, multicast, reserved, broadcast
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    # IPv6: unspecified, loopback, ULA with its metadata service, link-local, site-local, multicast, discard, documentation
    "::", "::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "100::1",
    "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "1::1",
    # Teredo, benchmarks, ORCHID and the rest of 2001::/23
    "2001::1", "2001:0:7f00:1::", "2001:0:808:808::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1",
    # 6to4, NAT64 (both prefixes), mapped, translated, compatible, ISATAP: whatever is inside, also what is public
    "2002:7f00:1::1", "2002:808:808::1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::10.0.0.1",
    "64:ff9b:1:808:8:800::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", "::127.0.0.1",
    "::8.8.8.8", "fe80::5efe:127.0.0.1", "2a00:1450::5efe:7f00:1", "2a00:1450::200:5efe:10.0.0.1", "2a00:1450::5efe:8.8.8.8",
    # no addresses
    "", "localhost", "127.1", "0x7f000001", "1.2.3.4.5", "8.8.8.8 ", "[::1]", "08.8.8.8",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert Addresses().is_allowed(address)


@pytest.mark.parametrize("address", REFUSED)
def test_any_other_address_is_refused(address: str) -> None:
    assert not Addresses().is_allowed(address)


@pytest.mark.parametrize(
    ("networks", "allowed", "refused"),
    [
        (["10.1.0.0/16"], "10.1.2.3", "10.2.0.1"),
        (["127.0.0.1"], "127.0.0.1", "127.0.0.2"),
        (["fd00::/8"], "fd00::5", "fc00::5"),
        (["10.1.0.0/16", "::1"], "::1", "::"),
        # the IPv4 address inside has to be allowed by itself
        (["127.0.0.0/8"], "127.0.0.1", "::ffff:127.0.0.1"),
        (["64:ff9b::/96"], "64:ff9b::8.8.8.8", "64:ff9b::127.0.0.1"),
        (["64:ff9b::/96", "10.0.0.0/8"], "64:ff9b::10.0.0.1", "64:ff9b::192.168.0.1"),
        (["64:ff9b:1::/48"], "64:ff9b:1:808:8:808:808:808", "64:ff9b:1:7f00:0:100:808:808"),
        (["::ffff:0:0/96"], "::ffff:8.8.8.8", "::ffff:127.0.0.1"),
        (["2001::/32"], "2001:0:808:808:0:0:f7f7:f7f7", "2001:0:808:808:0:0:80ff:fffe"),
        (["2002::/16"], "2002:808:808::1", "2002:7f00:1::1"),
        (["fe80::/10"], "fe80::1", "fe80::5efe:127.0.0.1"),
    ],
)
def test_a_network_that_is_named_is_allowed_and_no_other(
    networks: list[str], allowed: str, refused: str
) -> None:
    addresses = Addresses(map(parse_network, networks))
    assert (addresses.is_allowed(allowed), addresses.is_allowed(refused)) == (True, False)


def attempt(address: str, family: int = socket.AF_INET) -> tuple[Any, ...]:
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80)


def test_for_a_refused_address_no_socket_is_made() -> None:
    made: list[Any] = []
    addresses = Addresses(make_socket=lambda **what: made.append(what))  # type: ignore[arg-type, return-value]
    for address, family in (
        ("127.0.0.1", socket.AF_INET),
        ("::1", socket.AF_INET6),
        ("8.8.8.8", socket.AF_UNIX),
    ):
        with pytest.raises(AddressRefused):
            addresses.open_socket(attempt(address, family))
    assert made == []


def test_for_an_allowed_address_the_socket_is_of_its_family() -> None:
    with Addresses().open_socket(attempt("8.8.8.8")) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
