"""The messages between the host and a decode process, over a socket that keeps them apart. Standard library only.

Host → decoder: u8 heavy, then for each of the images, which lie on the tray: u32 where, u32 bytes, u32 bytes of specs, and the
specs as msgpack. Decoder → host: `READY` once, then for every request a msgpack list with a map for each image:
`{status, image, timing}`, with the pixels on the tray where the image lay, or `{status, error}`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

READY: Final = b"ready"
# 64 specs take 5 KB, an error's text less
MAX_MESSAGE_BYTES: Final = 64 * 1024
# How far a heavy image gives way: it gets about a quarter of a core that others want too. The decoder sets it for the thread
# that decodes, the host for the decoder's session, which counts first where Linux groups processes by session.
HEAVY_NICENESS: Final = 5

_IMAGE: Final = struct.Struct("<III")


def pack_request(is_heavy: bool, images: Iterable[tuple[int, int, bytes]]) -> bytes:
    """What the host asks for; of each image: where it lies, its bytes, its specs."""
    parts = [b"\1" if is_heavy else b"\0"]
    for begin, nbytes, specs in images:
        parts += (_IMAGE.pack(begin, nbytes, len(specs)), specs)
    return b"".join(parts)


def unpack_request(message: bytes) -> tuple[bool, list[tuple[int, int, bytes]]]:
    """(heavy, the images as `pack_request` was given them)."""
    images, position = [], 1
    while position < len(message):
        begin, nbytes, specs_bytes = _IMAGE.unpack_from(message, position)
        position += _IMAGE.size
        end = position + specs_bytes
        images.append((begin, nbytes, message[position:end]))
        position = end
    return message[0] != 0, images
