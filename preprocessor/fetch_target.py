"""FetchTarget: a URL taken apart by one strict grammar, and held against the list of hosts.

What the grammar does not know is refused and not repaired: parsers that disagree about a backslash, a user name or an
odd dot are how one host is checked and another asked. Which address the host has is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urljoin

from yarl import URL

from crema.host.fetch_hosts import HostRule, normal_host
from crema.host.image_limits import MAX_URL_CHARS

# All that RFC 3986 lets stand in a URL. No backslash, no space, nothing beyond ASCII: hosts are in their xn-- form.
_PLAIN: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.IGNORECASE,
)
_PORTS: Final = {"http": 80, "https": 443}


class TargetRefused(Exception):
    """A URL that is not asked for; `reason` and `host` (where it is known) are for the log."""

    def __init__(self, reason: Literal["refused_url", "refused_host"], host: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.host = host


@dataclass(frozen=True, slots=True)
class FetchTarget:
    """Where one request of a fetch goes. `host` is in lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def url(self) -> URL:
        """As the HTTP client takes it: nothing in it is decoded, repaired or encoded again."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        return URL(f"{self.scheme}://{host}{port}{self.path}{query}", encoded=True)

    def after(self, location: str, hosts: Sequence[HostRule]) -> FetchTarget:
        """Where a redirect from here leads. Raises TargetRefused, also for a step from https to http."""
        if not _PLAIN.fullmatch(location):
            raise TargetRefused("refused_url")
        there = parse_target(urljoin(str(self.url), location), hosts)
        if self.scheme == "https" and there.scheme == "http":
            raise TargetRefused("refused_url")
        return there


def parse_target(text: str, hosts: Sequence[HostRule]) -> FetchTarget:
    """A URL that one of `hosts` allows. Raises TargetRefused."""
    if len(text) > MAX_URL_CHARS or not _PLAIN.fullmatch(text):
        raise TargetRefused("refused_url")
    match = _URL.fullmatch(text)
    if match is None:
        raise TargetRefused("refused_url")
    scheme = match["scheme"].lower()
    port = _PORTS[scheme] if match["port"] is None else int(match["port"])
    try:
        host = normal_host(match["host"])
    except ValueError:
        raise TargetRefused("refused_url") from None
    if not any(rule.allows(host, port) for rule in hosts):
        raise TargetRefused("refused_host", host)
    return FetchTarget(scheme, host, port, match["path"] or "/", match["query"] or "")
