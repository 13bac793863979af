"""To whom `crema loadtest` sends: which cluster, where its CPU time can be read, and whether it answers at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from crema.cli.api import Api, Unreachable
from crema.cli.public_api_options import DEFAULT_URL
from deploy.running_cluster import NotRunning, RunningCluster, find_cluster
from loadtest.cluster_cpu import ClusterCpu, LocalCpu, MetricsCpu, NoCpu
from loadtest.scenario import Scenario

# What every further call of the kind would be answered, too.
_IN_VAIN: Final = (400, 401, 403, 404, 405, 413, 415, 422, 431)


def target_of(options: Mapping[str, Any], key: str | None) -> tuple[str, ClusterCpu]:
    """(the public API, where the CPU time of the cluster can be read)."""
    url, found = options["url"], None
    try:
        found = find_cluster(options["cluster"])
    except NotRunning as error:
        if options["cluster"] is not None:
            raise click.ClickException(str(error)) from None
    if url is None and found is not None:
        if found.public_url is None:
            raise click.ClickException(
                f"the cluster of {found.state_folder.parent} is still starting\n  see how far it is: crema status"
            )
        url = found.public_url
    url = (url or DEFAULT_URL).rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    if options["operations"]:
        return url, MetricsCpu(options["operations"], key)
    if found is not None and found.public_url == url:
        here: RunningCluster = found

        def status() -> dict[str, Any]:
            try:
                return here.status()
            except NotRunning as error:
                raise OSError(str(error)) from None

        return url, LocalCpu(status)
    return url, NoCpu(
        "not known of a cluster that was not started here; name its tiers' operations listeners: --operations URL"
    )


def try_once(url: str, key: str | None, plan: Scenario, photo: bytes) -> None:
    """One call for each kind of calls, so that a wrong address or name is not reported as thousands of errors."""
    for query in dict.fromkeys(phase.query for phase in plan.phases):
        try:
            reply = Api(url, dict(query), key).analyze(photo)
        except ValueError as error:
            raise click.UsageError(f"--url: {error}") from None
        except Unreachable as error:
            raise click.ClickException(
                f"{error}\n  start a cluster with `crema up`, or name one with --url"
            ) from None
        if reply.code in _IN_VAIN:
            said = reply.body.get("detail") or reply.body.get("title") or ""
            step = (
                "\n  put the API key into the variable CREMA_API_KEY, or into a file: --key-file FILE"
                if reply.code == 401
                else ""
            )
            raise click.ClickException(
                f"{url} answers {reply.code} {reply.body.get('code', '')}: {said}{step}"
            )
