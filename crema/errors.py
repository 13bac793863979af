"""Every failure a caller can see, as one closed table of codes. Light ring: standard library only.

The same code travels in problem documents, in channel frames and in metric labels. This module never
decides *when* something fails; it says what a failure is called, which status it has and whether a
second try can help.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table: HTTP status, short title, and whether the same call can succeed later."""

    status: int
    title: str
    retryable: bool = False


CODES: Final[dict[str, Code]] = {
    "invalid_json": Code(400, "The body is not valid JSON"),
    "invalid_request": Code(400, "The request is not valid"),
    "unauthenticated": Code(401, "An API key is needed"),
    "forbidden": Code(403, "The API key does not allow this"),
    "unknown_model": Code(404, "There is no such model"),
    "unknown_version": Code(404, "The model has no such version"),
    "not_found": Code(404, "There is nothing at this address"),
    "method_not_allowed": Code(405, "The address does not take this method"),
    "upload_too_slow": Code(408, "The upload was too slow"),
    "image_too_large": Code(413, "The image is too large"),
    "body_too_large": Code(413, "The body is too large"),
    "unsupported_media_type": Code(415, "The image format is not supported"),
    "undecodable_image": Code(422, "The image cannot be decoded"),
    "decode_timeout": Code(422, "The image takes too long to decode"),
    "item_rejected": Code(422, "The model rejected this image"),
    "item_quarantined": Code(422, "This image is quarantined"),
    "url_fetch_disabled": Code(422, "Fetching images by URL is switched off"),
    "url_fetch_failed": Code(422, "The image could not be fetched"),
    "overloaded": Code(429, "Healthy, but full", retryable=True),
    "headers_too_large": Code(431, "The request's headers are too large"),
    "internal": Code(500, "An error of ours"),
    "model_failed": Code(502, "The model failed"),
    "model_output_invalid": Code(502, "The model's answer is not valid"),
    "not_ready": Code(503, "Cannot be served now", retryable=True),
    "deadline_exceeded": Code(504, "The deadline passed"),
}


class CremaError(Exception):
    """A failure with a code of the table, a message for people and, where it helps, when to come back.

    `retry_after_ms` is a positive number of milliseconds or None. `extra` members are added to the problem
    document as they are (`errors`, `did_you_mean`, `available`, `limit` …).
    Raises KeyError for a code that is not in the table: that is a bug of ours.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retry_after_ms: float | None = None,
        retryable: bool | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        row = CODES[code]
        self.code = code
        self.message = message
        self.status = row.status
        self.title = row.title
        self.retryable = row.retryable if retryable is None else retryable
        self.retry_after_ms = None if retry_after_ms is None else max(1, math.ceil(retry_after_ms))
        self.extra = extra

    def as_wire(self) -> dict[str, Any]:
        """The error as it travels in frames and in a model's part of an answer."""
        body: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        if self.retry_after_ms is not None:
            body["retry_after_ms"] = self.retry_after_ms
        return body

    @classmethod
    def from_wire(cls, error: Any) -> CremaError:
        """Rebuild an error that another tier sent; what does not fit the table becomes `internal`."""
        if not isinstance(error, dict) or error.get("code") not in CODES:
            return cls(
                "internal", "another tier sent an error that is not in the table; this is a bug of ours"
            )
        after = error.get("retry_after_ms")
        return cls(
            error["code"],
            str(error.get("message", "")),
            retry_after_ms=after if isinstance(after, (int, float)) and math.isfinite(after) else None,
            retryable=bool(error.get("retryable", False)),
        )


def retry_after_seconds(retry_after_ms: float) -> int:
    """Whole seconds for a `Retry-After` header: rounded up, at least 1."""
    return max(1, math.ceil(retry_after_ms / 1000))


def problem(error: CremaError, request_id: str | None) -> dict[str, Any]:
    """The RFC 9457 problem document of an error (design: section 6.1)."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    if request_id is not None:
        body["request_id"] = request_id
    if error.retry_after_ms is not None:
        body["retry_after_ms"] = error.retry_after_ms
    body.update(error.extra)
    return body
