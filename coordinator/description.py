"""The API's description: `openapi.yaml` as JSON, and a page that lists what there is without loading anything else."""

from __future__ import annotations

import html
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import yaml
from aiohttp import web

from crema.host.service import OPEN, Handler, Route


@cache
def description() -> dict[str, Any]:
    """The hand-written OpenAPI 3.1 description."""
    loaded = yaml.safe_load(files("coordinator").joinpath("openapi.yaml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def description_routes() -> list[Route]:
    """`/openapi.json` and `/docs`."""
    return [
        Route("GET", "/openapi.json", _fixed(msgspec.json.encode(description()), "application/json"), OPEN),
        Route("GET", "/docs", _fixed(page(description()).encode(), "text/html", "utf-8"), OPEN),
    ]


def page(described: dict[str, Any]) -> str:
    """A table of the API's addresses as HTML."""
    rows = "\n".join(
        f"<tr><td><code>{html.escape(method.upper())} {html.escape(path)}</code></td><td>{html.escape(operation['summary'])}</td></tr>"
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if method in ("get", "post")
    )
    title = html.escape(described["info"]["title"])
    text = html.escape(described["info"]["description"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:50rem}td{padding:.2rem 1rem .2rem 0;vertical-align:top}"
        "pre{white-space:pre-wrap;font:inherit}</style>"
        f'<h1>{title}</h1><pre>{text}</pre><table>{rows}</table><p>The whole description: <a href="/openapi.json">/openapi.json</a></p>'
    )


def _fixed(body: bytes, content_type: str, charset: str | None = None) -> Handler:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, charset=charset)

    return handler
