"""How large an image may be, and its address: what coordinator and preprocessor both hold callers to."""

from __future__ import annotations

from typing import Final

MAX_IMAGE_BYTES: Final = 20 * 1024 * 1024
"""Of one image, whichever way it came."""
MAX_PIXELS: Final = 50_000_000
"""Of what one image decodes to."""
MAX_URL_CHARS: Final = 8192
"""Of the address of an image that is fetched."""
