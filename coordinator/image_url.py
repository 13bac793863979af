"""ImageUrl: an image that is named by its address instead of sent. Whether it is fetched is the cluster's choice.

Only its length is judged here: which URLs may be asked for is decided where they are, by the preprocessor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coordinator.violations import Path, Violations
from crema.errors import CremaError
from crema.host.image_limits import MAX_URL_CHARS


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """`image.url`. `instead` is how this caller would send the image itself."""

    url: str
    instead: str

    def disabled(self) -> CremaError:
        """The error where fetching is switched off."""
        return CremaError(
            "url_fetch_disabled",
            f"fetching images by URL is switched off here; send the image itself: {self.instead}"
            " (an operator switches it on with `fetch: {enabled: true, hosts: […]}` in cluster.yaml)",
        )


def read_url(value: Any, path: Path, violations: Violations, instead: str) -> ImageUrl | None:
    """The value of `url` at `path`; None when it is none, which is then noted."""
    if type(value) is not str:
        violations.add(path, "must be a text")
    elif not 1 <= len(value) <= MAX_URL_CHARS:
        violations.add(path, f"must have 1 to {MAX_URL_CHARS} characters (got {len(value)})")
    else:
        return ImageUrl(value, instead)
    return None
