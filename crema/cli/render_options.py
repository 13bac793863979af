"""What `crema render` takes for names: what a registry or Kubernetes would refuse is wrong use, and told at once."""

from __future__ import annotations

import re
from typing import Final

import click

_IMAGE_PREFIX: Final = re.compile(
    r"[a-z0-9]+([.-][a-z0-9]+)*(:\d{1,5})?(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*"
)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_URL: Final = re.compile(r"https?://[^\s/]+\S*")


class Written(click.ParamType[str]):
    """A text of one form; `example` is one that is right."""

    def __init__(self, name: str, form: re.Pattern[str], what: str, example: str) -> None:
        self.name = name
        self._form = form
        self._what = what
        self._example = example

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is. Raises BadParameter."""
        if self._form.fullmatch(value) is None:
            self.fail(f"{value!r} is no {self._what}; for instance {self._example}", param, ctx)
        return value


IMAGE_PREFIX: Final = Written(
    "text", _IMAGE_PREFIX, "beginning of an image's name: lower-case letters, digits and . - _ /", "registry.example.com/photos"
)  # fmt: skip
TAG: Final = Written("text", _TAG, "tag: up to 128 letters, digits and _ . -", "2026-05-04")
NAMESPACE: Final = Written(
    "text", _LABEL, "namespace: up to 63 of a-z, 0-9 and - with a letter or digit at both ends", "photos"
)
URL: Final = Written("url", _URL, "address", "http://prometheus.monitoring.svc:9090")
