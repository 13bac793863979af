"""The page at `/docs`: Swagger UI over `/openapi.json`, from files of our own, so that it works without a network.

It loads nothing from elsewhere and the browser is told to refuse it, should it ever try.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from crema.errors import CremaError
from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request
from crema.host.service import OPEN, Route

PAGE: Final = "index.html"
# file → its type; what the folder holds besides (licences) is not served
FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
# Swagger UI keeps its icons as data: URLs in its style sheet, and styles nothing inline in the page's text.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def docs_routes() -> list[Route]:
    """`/docs` and the files it loads."""
    return [Route("GET", "/docs", _page, OPEN), Route("GET", "/docs/{file}", _file, OPEN)]


async def _page(request: Request) -> Answer:
    return answer(_read(PAGE), "text/html; charset=utf-8", headers=SAFE)


async def _file(request: Request) -> Answer:
    name = request.segment
    if name not in FILES:
        raise CremaError("not_found", f"the page /docs has no file of that name; it has {', '.join(FILES)}")
    return answer(_read(name), FILES[name], headers={"Cache-Control": "max-age=3600", **SAFE})


@cache
def _read(name: str) -> bytes:
    return files("coordinator").joinpath("swagger_ui", name).read_bytes()
