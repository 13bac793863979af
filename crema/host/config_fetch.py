"""The section `fetch` of a `cluster.yaml`: whether images are fetched by URL, and from where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from crema.host.fetch_hosts import parse_host_rule, parse_network
from crema.host.manifest_parts import AsTuple
from crema.host.mistakes import Strict, refuse


def _checked_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    def check(written: str) -> str:
        try:
            parse(written)
        except ValueError as error:
            raise refuse(str(error)) from None
        return written

    return check


HostEntry = Annotated[str, AfterValidator(_checked_by(parse_host_rule))]
NetworkEntry = Annotated[str, AfterValidator(_checked_by(parse_network))]


class FetchConfig(Strict):
    """Fetching images by URL. Off, because whoever may call the API could then have this machine ask others for things."""

    enabled: bool = False
    hosts: Annotated[tuple[HostEntry, ...], AsTuple] = Field(default=(), validate_default=True)
    """Exactly these hosts, at ports 80 and 443 or at the one that is written; `*` is any host with a public address."""
    allow_private: Annotated[tuple[NetworkEntry, ...], AsTuple] = ()
    """Networks that are not public and where hosts of the list may lie all the same: an object store in the house."""

    @field_validator("hosts")
    @classmethod
    def _are_there(cls, hosts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("enabled") and not hosts:
            raise refuse("must name the hosts that images are fetched from", show=False)
        return hosts
