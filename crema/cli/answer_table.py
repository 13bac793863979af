"""An answer of the API as lines for people: one per model, the state first, the problem last."""

from __future__ import annotations

from typing import Any, Final

from crema.cli.api import Reply
from crema.cli.table import aligned

_SHOWN_TAGS: Final = 8


def answer_lines(photo: str, reply: Reply) -> list[str]:
    """The lines for one photo: what it is, then one per result; or its problem."""
    body = reply.body
    if "results" not in body:
        code = body.get("code") or body.get("title") or f"HTTP {reply.code}"
        return [*aligned([("FAILED", photo, f"{code}: {body.get('detail', '')}")]), *_more(body)]
    image = body.get("image") or {}
    what = f"{image.get('format', '?')} {image.get('width', '?')}x{image.get('height', '?')}" if image else ""
    timing = body.get("timing") or {}
    total = f"{timing['total_ms']:.0f} ms in all" if "total_ms" in timing else ""
    head = (
        reply.status.upper(),
        photo,
        "  ".join(part for part in (what, total, str(body.get("detail", ""))) if part),
    )
    rows = [_row(key, result) for key, result in body["results"].items()]
    return [*aligned([head]), *aligned(rows)]


def _row(key: str, result: dict[str, Any]) -> tuple[str, ...]:
    model = f"{result.get('model', key)}@{result.get('version', '?')}"
    named = model if key == result.get("model") or "@" in key else f"{key} ({model})"
    if result.get("status") != "ok":
        error = result.get("error") or {}
        return ("ERROR", named, "", "", f"{error.get('code', 'error')}: {error.get('message', '')}")
    total = (result.get("timing") or {}).get("total_ms")
    return (
        "OK",
        named,
        f"{total:.0f} ms" if isinstance(total, (int, float)) else "",
        "",
        output_text(result.get("output")),
    )


def output_text(output: Any) -> str:
    """An output of any type, in a line."""
    if isinstance(output, dict):
        if isinstance(tags := output.get("tags"), list):
            shown = [f"{tag.get('name')} {tag.get('confidence', 0):.2f}" for tag in tags[:_SHOWN_TAGS]]
            more = f", and {len(tags) - _SHOWN_TAGS} more" if len(tags) > _SHOWN_TAGS else ""
            return ", ".join(shown) + more if tags else "no tags"
        if isinstance(score := output.get("score"), (int, float)):
            return f"{score:.3f}"
        if isinstance(caption := output.get("caption"), dict):
            return f"“{caption.get('text')}” {caption.get('confidence', 0):.2f}"
        if isinstance(output.get("embedding"), list):
            return f"embedding of {output.get('dim')} numbers"
    return _shortened(str(output))


def _shortened(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _more(body: dict[str, Any]) -> list[str]:
    """What a problem document says besides: every violation, and names that were perhaps meant."""
    lines = [
        f"          {error.get('pointer')}: {error.get('message')}" for error in body.get("errors") or []
    ]
    if body.get("did_you_mean"):
        lines.append(f"          did you mean {', '.join(body['did_you_mean'])}?")
    elif body.get("available"):
        lines.append(f"          there are: {', '.join(body['available'])}")
    return lines
