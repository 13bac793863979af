"""What fuzzing starts from: the table of images, the golden frames, and one body of every way in."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import msgpack

from tests.preprocessor import image_files as f
from tests.preprocessor.crafted_cases import CRAFTED
from tests.preprocessor.image_cases import GIF, JPEG, OTHER, WEBP
from tests.preprocessor.png_cases import PNG

ROOT = Path(__file__).resolve().parents[2]
# Mutating a large file finds little: what matters lies in headers, tables and the first rows.
MOST_BYTES = 24 * 1024


def images() -> Iterable[bytes]:
    """Every case of the table that is small."""
    for case in (*JPEG, *WEBP, *GIF, *PNG, *OTHER, *CRAFTED):
        # these take seconds to make and are over the size anyway
        if any(word in case.name for word in ("MP", "MB", "MiB", "passes", "0,000", "256")):
            continue
        data = case.make()
        if len(data) <= MOST_BYTES:
            yield data


def frames() -> Iterable[bytes]:
    """The stored bytes of every message between tiers."""
    for path in (ROOT / "tests" / "golden" / "wire").glob("*.bin"):
        yield path.read_bytes()[:MOST_BYTES]


def bodies() -> Iterable[bytes]:
    """One image, and one batch, in a form, in JSON and in msgpack, with every option."""
    image = f.jpeg(f.quadrants(8, 8))
    options = {
        "models": [
            "tags",
            {"model": "captions@1.4", "as": "c", "params": {"n": 1, "x": None}, "required": True},
        ],
        "deadline_ms": 2000.5,
        "lane": "bulk",
        "on_error": "fail",
        "required": ["c"],
    }
    text = {"base64": base64.b64encode(image).decode()}
    yield json.dumps({"image": text, **options}).encode()
    yield json.dumps({"images": [text, {"url": "http://x/é"}], **options}, indent=1).encode()
    yield msgpack.packb({"image": {"bytes": image}, **options})
    yield msgpack.packb({"images": [{"bytes": image}, {"base64": "AAAA"}]})
    parts = [
        (b'"image"; filename="a.jpg"', image),
        (b'"models"', b"tags,c"),
        (b'"options"', b'{"lane":"bulk"}'),
    ]
    whole = b"".join(
        b"--XyZ\r\nContent-Disposition: form-data; name=%b\r\nContent-Type: image/jpeg\r\n\r\n%b\r\n" % part
        for part in parts
    )
    yield whole + b"--XyZ--\r\n"


def write(folder: Path, files: Iterable[bytes]) -> None:
    """Put `files` into `folder`, each under its own hash."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in files:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
