"""The parts of a `cluster.yaml`, one class per key: what each setting does, its default and its range.

These classes say what a file means; `config` reads it and holds it against the packages folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)

from crema.host.image_signatures import cannot_be_read
from crema.host.loopback import is_loopback
from crema.host.manifest_parts import AsTuple
from crema.host.mistakes import Strict, refuse
from crema.names import OptionalFormat

MAX_REPLICAS: Final = 256
DEFAULT_KEYS: Final = ".crema/keys.json"

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^:\[\]\s]+):([0-9]{1,5})\Z")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\Z")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%\Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """What validators know besides the value: whether the file says `insecure: true`."""

    is_insecure: bool
    has_keys: bool = False
    """Whether the cluster has an API key that is valid now."""


class Address(NamedTuple):
    """Where a listener listens. Port 0 means: a free one, chosen at start."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return is_loopback(self.host)


def parse_address(written: object) -> Address:
    """`127.0.0.1:8000`, `localhost:0`, `[::1]:8000` → Address; anything else is refused with an example."""
    if isinstance(written, Address):
        return written
    match = _ADDRESS.match(written) if isinstance(written, str) else None
    if match is None:
        raise refuse("must be HOST:PORT in quotes")
    if int(match[2]) > 65535:
        raise refuse("the port must be 0 (a free one) to 65535")
    return Address(match[1].strip("[]"), int(match[2]))


def _reachable_only_here(address: Address, info: ValidationInfo) -> Address:
    reading = info.context
    if isinstance(reading, Reading) and not (reading.is_insecure or reading.has_keys or address.is_loopback):
        raise refuse(
            "beyond loopback anyone who reaches this port may call the models, and there is no valid API key",
            hint="crema keys new --name app --scopes infer, which makes one and shows it once; "
            f'or "127.0.0.1:{address.port}"; or insecure: true',
        )
    return address


Listener = Annotated[
    Address,
    BeforeValidator(parse_address),
    AfterValidator(_reachable_only_here),
    PlainSerializer(str, return_type=str),
]
Port = Annotated[int, Field(ge=0, le=65535)]


def _host_name(written: object) -> object:
    if not isinstance(written, str) or not _HOST_NAME.match(written):
        raise refuse("must be a name without scheme and port")
    return written


HostName = Annotated[str, BeforeValidator(_host_name)]


class Ports(Strict):
    """Inner ports, fixed: replica k (from 0) listens on channel + 2k and http + 2k. 0, the default, is a free port."""

    channel: Port = 0
    http: Port = 0


class CoordinatorConfig(Strict):
    """The tier that callers see."""

    listen: Listener = Address("127.0.0.1", 8000)
    """The public API."""
    operations: Listener = Address("127.0.0.1", 8001)
    """Metrics and administration; never on the public listener."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes on the one public port; more than one when a core is full."""
    log_sample: float = Field(default=1, ge=0, le=1)
    """The share of requests that get an event in the log; those that fail always do."""
    keys: str = Field(default=DEFAULT_KEYS, min_length=1)
    """The file of API keys, relative to the cluster file; `crema keys` changes it. Read `ClusterConfig.keys_file`."""
    hosts: Annotated[tuple[HostName, ...], AsTuple] = ()
    """Names under which callers reach listeners on loopback, besides localhost; needed where a proxy passes its own on."""

    @field_validator("operations")
    @classmethod
    def _is_another_port(cls, operations: Address, info: ValidationInfo) -> Address:
        if operations.port and operations == info.data.get("listen"):
            raise refuse(
                "must be another address than listen", hint=f'operations: "127.0.0.1:{operations.port + 1}"'
            )
        return operations


def _workers(written: object) -> object:
    if written != "auto" and (
        isinstance(written, bool) or not isinstance(written, int) or not 1 <= written <= 256
    ):
        raise refuse("must be auto or a number from 1 to 256")
    return written


def _can_be_read(wanted: OptionalFormat) -> OptionalFormat:
    reason = cannot_be_read(wanted)
    if reason is not None:
        raise refuse(
            reason,
            hint=f"remove {wanted} from formats, or `uv pip install pillow-heif` into crema's virtualenv",
        )
    return wanted


class Replicas(Strict):
    """How many minions of a version, or preprocessors, run: `min` at first and at least, and never more than `max`."""

    min: int = Field(default=1, ge=1, le=MAX_REPLICAS)
    max: int = Field(default=1, ge=1, le=MAX_REPLICAS, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _max_follows_min(cls, written: Any) -> Any:
        least = written.get("min") if isinstance(written, dict) else None
        if isinstance(least, int) and 1 <= least <= MAX_REPLICAS and "max" not in written:
            return {**written, "max": least}
        return written

    @field_validator("max")
    @classmethod
    def _max_is_not_below_min(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min")
        if least is not None and most < least:
            raise refuse(
                f"must be at least min, {least}", hint=f"max: {least}, or remove the line to use min"
            )
        return most


def _replicas(written: object) -> object:
    if isinstance(written, int) and not isinstance(written, bool):
        if not 1 <= written <= MAX_REPLICAS:
            raise refuse(f"must be from 1 to {MAX_REPLICAS}")
        return {"min": written, "max": written}
    if not isinstance(written, (dict, Replicas)):
        raise refuse("must be a whole number or {min: …, max: …}")
    return written


class PreprocessorConfig(Strict):
    """The tier that decodes photos."""

    replicas: Annotated[Replicas, BeforeValidator(_replicas)] = Field(default_factory=Replicas)
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = "auto"
    """Decode processes per replica; auto: one per core that this machine has for us."""
    formats: Annotated[tuple[Annotated[OptionalFormat, AfterValidator(_can_be_read)], ...], AsTuple] = ()
    """Image formats that are read beside JPEG, PNG, WebP and GIF."""
    ports: Ports = Field(default_factory=Ports)


def _percent(written: object) -> object:
    match = _PERCENT.match(written) if isinstance(written, str) else None
    if match is None:
        number = written if isinstance(written, (int, float)) and not isinstance(written, bool) else 5
        raise refuse("must be a share with its sign", hint=f"canary: {number}%")
    if not 0 < float(match[1]) <= 100:
        raise refuse("must be more than 0% and at most 100%", hint="canary: 5%")
    return float(match[1])


class VersionConfig(Strict):
    """One version that is served."""

    replicas: Annotated[Replicas, BeforeValidator(_replicas)] = Field(default_factory=Replicas)
    canary_percent: Annotated[float, BeforeValidator(_percent)] | None = Field(default=None, alias="canary")
    """The share of `NAME` and `NAME@MAJOR` that goes to this version instead; absent: promoted."""
    ports: Ports = Field(default_factory=Ports)


class ModelConfig(Strict):
    """One model: which versions are served, what its bare name means, and its labels."""

    versions: dict[str, VersionConfig] | None = None
    default: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
