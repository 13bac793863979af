"""The routing file: everything a coordinator knows about its cluster, read whole, checked, and frozen.

It is JSON, written atomically by whoever runs the cluster. A file that is broken is refused as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from coordinator.discovery import PREFIX
from crema.names import is_label, is_name, parse_version

FORMAT: Final = 1

VersionState = Literal["starting", "ready", "failed", "draining"]


class RoutingError(ValueError):
    """The routing file was refused; the text says where and why."""


class VersionRow(msgspec.Struct, frozen=True):
    """One version of a model: where its replicas are, and its manifest's card."""

    replicas: tuple[str, ...]
    """Channel addresses `HOST:PORT` of those that are ready for traffic; `dns://HOST:PORT` is all that a name has."""
    wanted: int
    state: VersionState
    card: dict[str, Any]
    problem: str | None = None
    canary_percent: float | None = None
    """None: promoted."""
    http: tuple[str, ...] = ()
    """HTTP addresses `HOST:PORT` of all that run, those that are not ready too: where their metrics are."""


class ModelRow(msgspec.Struct, frozen=True):
    """One model: what its name and its labels mean, and its versions."""

    default: str
    versions: dict[str, VersionRow]
    labels: dict[str, str] = {}


class Routing(msgspec.Struct, frozen=True):
    """The whole file."""

    format: int
    revision: int
    models: dict[str, ModelRow]
    default_models: tuple[str, ...] = ()
    preprocessors: tuple[str, ...] = ()
    preprocessors_http: tuple[str, ...] = ()
    """As `VersionRow.http`."""


_decode = msgspec.json.Decoder(Routing).decode


def read_routing(path: Path) -> Routing:
    """Read and check the file. Raises RoutingError."""
    try:
        return parse_routing(path.read_bytes())
    except OSError as error:
        raise RoutingError(f"{path.name} cannot be read: {error.strerror}") from None


def parse_routing(data: bytes) -> Routing:
    """The routing in `data`. Raises RoutingError."""
    try:
        routing = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RoutingError(f"not a routing file: {error}") from None
    if routing.format != FORMAT:
        raise RoutingError(
            f"format {routing.format} is not spoken here, only {FORMAT}: run the same release everywhere"
        )
    for address in (*routing.preprocessors, *routing.preprocessors_http):
        _check_address(address)
    for name, model in routing.models.items():
        _check_model(name, model)
    return routing


def _check_model(name: str, model: ModelRow) -> None:
    if not is_name(name):
        raise RoutingError(f"{name!r} cannot name a model")
    for version, row in model.versions.items():
        try:
            parse_version(version)
        except ValueError as error:
            raise RoutingError(f"{name}: {error}") from None
        for address in (*row.replicas, *row.http):
            _check_address(address)
        if row.canary_percent is not None and not 0 <= row.canary_percent <= 100:
            raise RoutingError(f"{name}@{version}: a canary's share is from 0 to 100 percent")
        kind = row.card.get("input", {}).get("kind") if isinstance(row.card.get("input"), dict) else None
        if kind not in ("image", "tensor"):
            raise RoutingError(f"{name}@{version}: its card has no input.kind of image or tensor")
    if model.default not in model.versions:
        raise RoutingError(f"{name}: its default {model.default!r} is none of its versions")
    for label, version in model.labels.items():
        if not is_label(label) or version not in model.versions:
            raise RoutingError(
                f"{name}: the label {label!r} means {version!r}, which is none of its versions"
            )


def _check_address(address: str) -> None:
    host, _, port = address.removeprefix(PREFIX).rpartition(":")
    if not host or "/" in host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise RoutingError(f"{address!r} is neither HOST:PORT nor dns://HOST:PORT")
