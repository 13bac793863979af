"""The messages between the host and a decode process, over a socket that keeps them apart. Standard library only.

Host → decoder: u32 image bytes, u8 heavy, the specs as msgpack; the image lies on the tray. Decoder → host: `READY` once,
then a msgpack map for every request: `{status, image, timing}` with the pixels on the tray, or `{status, error}`.
"""

from __future__ import annotations

import struct
from typing import Final

READY: Final = b"ready"
# 64 specs take 5 KB, an error's text less
MAX_MESSAGE_BYTES: Final = 64 * 1024
# How far a heavy image gives way: it gets about a quarter of a core that others want too. The decoder sets it for the thread
# that decodes, the host for the decoder's session, which counts first where Linux groups processes by session.
HEAVY_NICENESS: Final = 5

_HEAD: Final = struct.Struct("<I?")


def pack_request(image_bytes: int, is_heavy: bool, packed_specs: bytes) -> bytes:
    """What the host asks for."""
    return _HEAD.pack(image_bytes, is_heavy) + packed_specs


def unpack_request(message: bytes) -> tuple[int, bool, bytes]:
    """(image bytes, heavy, packed specs)."""
    image_bytes, is_heavy = _HEAD.unpack_from(message)
    return image_bytes, is_heavy, message[_HEAD.size :]
