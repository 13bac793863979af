"""Which addresses a fetch may connect to, asked for the final address of every attempt, as its socket is made.

There, and not on the URL's text or on an earlier look-up, because `0x7f.1` and a name that answers differently the
second time both end here. It allows what is public, and the networks that the operator names; nothing is asked of DNS.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from crema.host.fetch_hosts import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddrInfo = tuple[Any, ...]
"""A row of `getaddrinfo`: family, type, protocol, canonical name, socket address."""

_DENIED_V4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # unspecified: Linux takes it for this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's platform service, at an address that looks public
        "169.254.0.0/16",  # link-local, the clouds' metadata services among it
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays to IPv6
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# All that is public in IPv6 lies here; outside it are ::1, ULA, link-local, multicast, mapped and compatible IPv4, NAT64.
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_DENIED_V6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # special purposes, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")
_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
# the 32 bits before the IPv4 address, the bit for "globally unique" left out
_ISATAP: Final = 0x00005EFE
_ISATAP_MASK: Final = 0xFDFFFFFF


class AddressRefused(OSError):
    """The address of an attempt is not allowed. Its text names none, so that those of all attempts are alike."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is not allowed")


class Addresses:
    """The public addresses and those in the networks `private`.

    An IPv6 address that holds an IPv4 address is never public; where a network of `private` holds it, the IPv4 address
    has to be allowed by itself, too.
    """

    def __init__(
        self, private: Iterable[Network] = (), *, make_socket: Callable[..., socket.socket] = socket.socket
    ) -> None:
        self._private = tuple(private)
        self._make_socket = make_socket

    def is_allowed(self, text: str) -> bool:
        """Whether a connection to the address `text` may be tried. What is no address is not allowed."""
        try:
            return self._allows(ipaddress.ip_address(text))
        except ValueError:
            return False

    def open_socket(self, attempt: AddrInfo) -> socket.socket:
        """The socket for one attempt to connect: aiohttp's `socket_factory`. Raises AddressRefused."""
        family, kind, protocol, _, address = attempt
        if family not in (socket.AF_INET, socket.AF_INET6) or not self.is_allowed(address[0]):
            raise AddressRefused
        return self._make_socket(family=family, type=kind, proto=protocol)

    def _allows(self, address: Address) -> bool:
        if isinstance(address, ipaddress.IPv4Address):
            return self._is_listed(address) or not any(address in network for network in _DENIED_V4)
        inner = inner_addresses(address)
        if self._is_listed(address):
            return all(map(self._allows, inner))
        return not inner and address in _PUBLIC_V6 and not any(address in network for network in _DENIED_V6)

    def _is_listed(self, address: Address) -> bool:
        return any(address in network for network in self._private)


def inner_addresses(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Every IPv4 address that an IPv6 address leads to, by any of the ways of writing one into the other."""
    number = int(address)
    if number <= 1:  # `::` and `::1` are themselves
        return []
    last = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    found: list[ipaddress.IPv4Address] = []
    if any(address in network for network in (_MAPPED, _COMPATIBLE, _TRANSLATED, *_NAT64)):
        found.append(last)
    if address in _NAT64[1]:
        # after a prefix of 48 bits the address stands around bits 64 to 71, which are zero
        found.append(ipaddress.IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if number >> 32 & _ISATAP_MASK == _ISATAP:
        found.append(last)
    return found
