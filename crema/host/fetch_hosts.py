"""Which hosts and networks images may be fetched from: the entries of `fetch.hosts` and `fetch.allow_private`, read.

Says what an entry means. What a URL is, and which addresses are open to everybody, is the preprocessor's business.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

ANY_HOST: Final = "*"
USUAL_PORTS: Final = frozenset({80, 443})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ENTRY = re.compile(r"(\*|\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_](?:[0-9A-Za-z._-]*[0-9A-Za-z_])?)(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of the list: a host in lower case without brackets (`*`: any), and the port; None: 80 and 443."""

    host: str
    port: int | None = None

    def allows(self, host: str, port: int) -> bool:
        """Whether a URL with this host (as `normal_host` writes it) and port may be asked for."""
        if self.host not in (ANY_HOST, host):
            return False
        return port in USUAL_PORTS if self.port is None else port == self.port


def parse_host_rule(text: str) -> HostRule:
    """`images.example.com`, `store.internal:9000`, `[fd00::5]:9000`, `*`. Raises ValueError that says what is wrong."""
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError(
            "must be a host name or HOST:PORT, without scheme or path, in ASCII (xn--… for others)"
        )
    port = None if match[2] is None else int(match[2])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("the port must be from 1 to 65535")
    return HostRule(normal_host(match[1]), port)


def normal_host(text: str) -> str:
    """A host as it is compared: lower case; an IPv6 address (`[…]`) in its shortest form without brackets.

    Raises ValueError for brackets around what is no IPv6 address.
    """
    if text.startswith("["):
        return str(ipaddress.IPv6Address(text[1:-1]))
    return text.lower()


def parse_network(text: str) -> Network:
    """`10.1.0.0/16`, `127.0.0.1`, `fd00::/8`. Raises ValueError that says what is wrong."""
    return ipaddress.ip_network(text)
