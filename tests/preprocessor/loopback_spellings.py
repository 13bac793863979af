"""This machine's own address, written in all the ways that have fooled somebody's check of a URL.

`PORT` stands for the port. Hosts are what may stand in `http://HOST:PORT/`; URLs are whole, because what is odd about
them lies elsewhere.
"""

from __future__ import annotations

from typing import Final

HOSTS: Final = (
    # as everybody writes it, and as C's inet_aton reads it
    "127.0.0.1", "127.0.1", "127.1", "127.0.0.2", "127.255.255.254", "127.127", "127.0.0.01", "127.000.000.001",
    # decimal, hexadecimal, octal, and mixed
    "2130706433", "02130706433", "0x7f000001", "0x7F000001", "0X7f000001", "0x7f.1", "0x7f.0.1", "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1", "127.0x1", "127.0.0x1", "0177.1", "0177.0.1", "0177.0.0.1", "0177.0.0.01", "0177.0x0.0.1",
    "017700000001", "000000017700000001",
    # "this host"
    "0", "0.0.0.0", "0.0", "0x0", "00", "000.000.000.000",
    # names
    "localhost", "LOCALHOST", "LocalHost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "rebind.test",
    # dots at the end
    "127.0.0.1.", "127.1.", "localhost.", "localhost..", "2130706433.", "0x7f.1.",
    # IPv6
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0001]", "[::0.0.0.1]", "[::]",
    "[0:0:0:0:0:0:0:0]",
    # IPv4 inside IPv6: mapped, translated, compatible, 6to4, NAT64, Teredo, ISATAP
    "[::ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0.0.0.0]",
    "[::ffff:127.1.2.3]", "[::ffff:0:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[2002:7f00:1::]",
    "[2002:7f00:0001::1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::127.0.0.1]",
    "[64:ff9b:1:7f00:0:100::]", "[2001:0:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fe80::5efe:127.0.0.1]", "[fe80::200:5efe:127.0.0.1]", "[2a00:1450::5efe:7f00:1]",
    # zones
    "[::1%lo]", "[::1%25lo]", "[fe80::1%25lo]", "[::ffff:127.0.0.1%25lo]",
    # dots and digits that become ASCII only when somebody normalises them
    "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "１２７.0.0.1", "①②⑦.⓪.⓪.①", "ｌｏｃａｌｈｏｓｔ", "ⓁⓄⒸⒶⓁⒽⓄⓈⓉ", "0ⅹ7f.1",
    "lo\u00adcalhost", "127.0.0.1\u200b",
    # percent-encoded
    "127%2e0%2e0%2e1", "%31%32%37.0.0.1", "%6c%6f%63%61%6c%68%6f%73%74", "127.0.0.1%2e",
    # user names that look like hosts
    "user@127.0.0.1", "user:word@127.0.0.1", "example.com@127.0.0.1", "example.com:80@127.0.0.1", "@127.0.0.1",
    "example.com%40127.0.0.1", "example.com%20@127.0.0.1", "a@b@127.0.0.1",
    # a backslash, where some read a slash and some a part of the user name
    "127.0.0.1\\@example.com", "example.com\\@127.0.0.1", "127.0.0.1\\.example.com",
    # control characters and spaces
    "127.0.0.1\t", "\t127.0.0.1", "127.0.0.1%00", "127.0.0.1%00.example.com", " 127.0.0.1", "127.0.0.1%09",
)  # fmt: skip

URLS: Final = (
    "http:127.0.0.1:PORT/", "http:/127.0.0.1:PORT/", "http:///127.0.0.1:PORT/", "http:////127.0.0.1:PORT/",
    "//127.0.0.1:PORT/", "127.0.0.1:PORT/", "http:\\\\127.0.0.1:PORT\\", "http://\\127.0.0.1:PORT/",
    "HTTP://127.0.0.1:PORT/", "hTTp://127.0.0.1:PORT/", " http://127.0.0.1:PORT/", "\nhttp://127.0.0.1:PORT/",
    "ht\ntp://127.0.0.1:PORT/", "http://127.0.0.1:PORT#@example.com/", "http://127.0.0.1:PORT?@example.com/",
    "http://example.com@127.0.0.1:PORT/", "http://example.com#@127.0.0.1:PORT/", "http://127.0.0.1:PORT:80/",
    "http://127.0.0.1:0PORT/", "http://127.0.0.1:+PORT/", "http://[127.0.0.1]:PORT/", "http://[::1]PORT/",
    "http://127.0.0.1:PORT\r\nHost: example.com/", "http://localhost:PORT/%0d%0aX:1",
    "https://127.0.0.1:PORT/", "ws://127.0.0.1:PORT/", "url:http://127.0.0.1:PORT/",
)  # fmt: skip

OTHER_SCHEMES: Final = (
    "file:///etc/passwd", "file://localhost/etc/passwd", "file:/etc/passwd", "gopher://127.0.0.1:PORT/_GET%20/",
    "data:image/gif;base64,R0lGODlhAQABAAAAACw=", "ftp://127.0.0.1:PORT/a.jpg", "dict://127.0.0.1:PORT/d",
    "ldap://127.0.0.1:PORT/", "jar:http://127.0.0.1:PORT/!/a", "javascript:alert(1)", "unix:///run/a.sock",
    "http+unix://%2frun%2fa.sock/", "blob:http://127.0.0.1:PORT/1", "about:blank", "", "http:", "http://", "https://:PORT/",
    "/etc/passwd", "photo.jpg", "\\\\server\\share\\a.jpg",
)  # fmt: skip


def urls(port: int) -> list[str]:
    """All of them, with a port in its place."""
    with_host = [f"http://{host}:{port}/photo.jpg" for host in HOSTS]
    return [*with_host, *(url.replace("PORT", str(port)) for url in URLS)]


def other_schemes(port: int) -> list[str]:
    """URLs that are none of http and https."""
    return [url.replace("PORT", str(port)) for url in OTHER_SCHEMES]
