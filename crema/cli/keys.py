"""`crema keys new|list|revoke`: the API keys of a cluster. A running coordinator takes a change up within seconds."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crema.cli.table import aligned, as_json

if TYPE_CHECKING:
    from datetime import datetime

    from crema.host.audit import Audit
    from crema.host.key_file import ApiKey

_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])\Z")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_RATE: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)/(s|m|h)\Z")
_PER: Final = {"s": 1, "m": 60, "h": 3600}


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = _DURATION.match(value) if isinstance(value, str) else None
        if match is None:
            self.fail(f"{value!r} is no time such as 90d, 12h or 30m", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


class _Rate(click.ParamType[float]):
    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _RATE.match(value) if isinstance(value, str) else None
        per_s = float(match[1]) / _PER[match[2]] if match is not None else 0.0
        if per_s <= 0:
            self.fail(f"{value!r} is no rate such as 100/s or 30/m", param, ctx)
        return per_s


class _Scopes(click.ParamType[tuple[str, ...]]):
    name = "scopes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        from crema.host.key_file import SCOPES

        if isinstance(value, tuple):
            return value
        given = tuple(part.strip() for part in str(value).split(",") if part.strip())
        unknown = [part for part in given if part not in SCOPES]
        if unknown or not given:
            self.fail(f"{value!r}: give some of {', '.join(SCOPES)}, separated by commas", param, ctx)
        return given


_cluster_option = click.option(
    "--cluster",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The cluster file whose keys these are. [default: cluster.yaml here, else the cluster started from here]",
)
_file_option = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file of keys itself, for a coordinator that no cluster file starts.",
)
_json_option = click.option("--json", "as_json_", is_flag=True, help="Print JSON for programs.")


@click.group()
def keys() -> None:
    """The API keys of a cluster: make, list, revoke. Once there is one, every call needs one."""


@keys.command(short_help="Make a key and show it, once.")
@click.option(
    "--name", required=True, help="Who it is for. Keys of one name share limits; two may be active."
)
@click.option(
    "--scopes",
    type=_Scopes(),
    default="infer",
    show_default=True,
    help="What it opens: infer, bulk, metrics, admin.",
)
@click.option(
    "--expires",
    "lasts",
    type=_Duration(),
    help="For how long it is valid, for instance 90d. [default: for ever]",
)
@click.option("--rate", type=_Rate(), help="Photos it may send, for instance 100/s. [default: no limit]")
@click.option(
    "--concurrency", type=click.IntRange(1, 100_000), help="Calls in flight at once. [default: no limit]"
)
@_cluster_option
@_file_option
@_json_option
def new(
    name: str,
    scopes: tuple[Any, ...],
    lasts: timedelta | None,
    rate: float | None,
    concurrency: int | None,
    cluster: Path | None,
    file: Path | None,
    as_json_: bool,
) -> None:
    """Make a key and show it. It is not kept anywhere: what is stored only recognises it.

    \b
    Example: crema keys new --name app --scopes infer,bulk --expires 90d --rate 100/s --concurrency 64
    """
    from crema.host.key_file import KeyFile, KeyFileError, now_utc

    path = _keys_file(cluster, file)
    try:
        with _audit(path).call("keys.new", name=name, scopes=list(scopes)) as record:
            key, text = KeyFile(path).new(
                name, scopes, now_utc(), lasts=lasts, rate_per_s=rate, concurrency=concurrency
            )
            record["id"] = key.id
    except (KeyFileError, OSError) as error:
        raise click.ClickException(_said(error, path)) from None
    if as_json_:
        click.echo(as_json({**_described(key, now_utc()), "key": text}))
        return
    click.echo(text)
    click.echo(
        f"  this is the only time it is shown; send it as  Authorization: Bearer {text[:12]}…\n"
        f"  kept: {path}  (calls without a key are refused from now on)",
        err=True,
    )


@keys.command("list", short_help="List them; no secret is shown.")
@_cluster_option
@_file_option
@_json_option
def list_(cluster: Path | None, file: Path | None, as_json_: bool) -> None:
    """List the keys: state, id, name, scopes, limits, and until when they are valid."""
    from crema.host.key_file import KeyFile, KeyFileError, now_utc

    path = _keys_file(cluster, file)
    try:
        records = KeyFile(path).read().records
    except (KeyFileError, OSError) as error:
        raise click.ClickException(_said(error, path)) from None
    rows = [_described(key, now_utc()) for key in records]
    if as_json_:
        click.echo(as_json({"keys": rows}))
    elif rows:
        click.echo("\n".join(aligned(_columns(row) for row in rows)))
    else:
        click.echo("there are no keys; make one: crema keys new --name app --scopes infer")


@keys.command(short_help="End a key for good.")
@click.argument("key_id", metavar="ID")
@_cluster_option
@_file_option
@_json_option
def revoke(key_id: str, cluster: Path | None, file: Path | None, as_json_: bool) -> None:
    """End the key with the id ID. A running cluster refuses it within 5 seconds.

    \b
    Example: crema keys revoke 3f9a0c62d7b1
    """
    from crema.host.key_file import KeyFile, KeyFileError, now_utc

    path = _keys_file(cluster, file)
    try:
        with _audit(path).call("keys.revoke", id=key_id[:64]) as record:
            key = KeyFile(path).revoke(key_id, now_utc())
            record["name"] = key.name
    except (KeyFileError, OSError) as error:
        raise click.ClickException(_said(error, path)) from None
    row = _described(key, now_utc())
    click.echo(as_json(row) if as_json_ else aligned([_columns(row)])[0])


def _keys_file(cluster: Path | None, file: Path | None) -> Path:
    """The file of keys that is meant. An error here ends the command with what to do."""
    from crema.host.config_keys import keys_file_of

    if file is not None:
        if cluster is not None:
            raise click.UsageError("--cluster and --file name the same thing; give one of them")
        return file.absolute()
    found = cluster or Path("cluster.yaml")
    if not found.is_file():
        from deploy.running_cluster import NotRunning, find_cluster

        try:
            found = Path(find_cluster().status()["cluster"])
        except (NotRunning, KeyError):
            raise click.UsageError("there is no cluster.yaml in this folder; name --cluster FILE") from None
    return keys_file_of(found)


def _audit(keys_file: Path) -> Audit:
    from crema.host.audit import AUDIT_FILE, Audit

    return Audit(keys_file.with_name(AUDIT_FILE))


def _said(error: Exception, path: Path) -> str:
    return f"{path} cannot be changed: {error.strerror}" if isinstance(error, OSError) else str(error)


def _described(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "state": key.state(now),
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "rate_per_s": key.rate_per_s,
        "concurrency": key.concurrency,
        "created": key.created.isoformat(),
        "expires": key.expires.isoformat() if key.expires is not None else None,
        "revoked": key.revoked.isoformat() if key.revoked is not None else None,
    }


def _columns(row: dict[str, Any]) -> list[str]:
    rate = f"{row['rate_per_s']:g}/s" if row["rate_per_s"] is not None else ""
    concurrency = f"{row['concurrency']} at once" if row["concurrency"] is not None else ""
    ended = f"revoked {row['revoked'][:10]}" if row["revoked"] else ""
    until = f"until {row['expires'][:10]}" if row["expires"] else "for ever"
    return [
        row["state"].upper(),
        row["id"],
        row["name"],
        ",".join(row["scopes"]),
        rate,
        concurrency,
        ended or until,
    ]
