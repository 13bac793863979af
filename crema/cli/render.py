"""`crema render kubernetes|images`: what a cluster needs past one machine, written from its cluster.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from crema.cli.render_options import IMAGE_PREFIX, NAMESPACE, TAG, URL
from crema.cli.table import as_json

if TYPE_CHECKING:
    from crema.host.config import ResolvedCluster

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DEFAULT_PREFIX: Final = "localhost/crema"


@click.group()
def render() -> None:
    """Write what a cluster needs past one machine: Kubernetes manifests, and the lines that build its images."""


def _shared(command: _Command) -> _Command:
    """The options that both need: an image is called alike where it is built and where it is run."""
    for option in reversed(
        (
            click.option(
                "-f", "--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                default=Path("cluster.yaml"), show_default=True, help="The cluster file.",
            ),
            click.option(
                "--image-prefix", metavar="REGISTRY/NAME", type=IMAGE_PREFIX, default=_DEFAULT_PREFIX, show_default=True,
                help="What stands before the images' own names.",
            ),
            click.option("--tag", metavar="TAG", type=TAG, help="The tag of all images. [default: made of their contents]"),
            click.option(
                "--profile", metavar="NAME",
                help="The lock profile of the environments. [default: cpu or pypi; on a GPU cu…, then pypi]",
            ),
            click.option("--gpu", is_flag=True, help="Give a GPU to versions with `device: auto`, too."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@render.command(short_help="Write Kubernetes manifests into a folder.")
@_shared
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write.",
)
@click.option(
    "--namespace",
    type=NAMESPACE,
    metavar="NAME",
    help="The namespace of everything. [default: whichever kubectl is told]",
)
@click.option(
    "--cpus",
    type=click.IntRange(1, 256),
    default=2,
    show_default=True,
    help="Cores that each minion asks for.",
)
@click.option(
    "--prometheus", metavar="URL", type=URL, default="http://prometheus.monitoring.svc:9090", show_default=True,
    help="Where KEDA asks for crema:replicas_wanted.",
)  # fmt: skip
@click.option(
    "--monitoring-namespace",
    type=NAMESPACE,
    metavar="NAME",
    default="monitoring",
    show_default=True,
    help="From where /metrics may be read.",
)
@click.option("--no-keda", is_flag=True, help="No ScaledObjects: a fixed number of replicas, the minimum.")
@click.option("--json", "as_document", is_flag=True, help="Print what was written as one JSON document.")
def kubernetes(
    path: Path,
    image_prefix: str,
    tag: str | None,
    profile: str | None,
    gpu: bool,
    output: Path,
    namespace: str | None,
    cpus: int,
    prometheus: str,
    monitoring_namespace: str,
    no_keda: bool,
    as_document: bool,
) -> None:
    """Write the manifests of a cluster into the folder -o; `kubectl apply -k` takes it.

    The folder then holds exactly what the cluster file says: manifests of versions that are gone are removed from it.
    """
    from deploy.containers.images import CannotBuild
    from deploy.kubernetes.renderer import FolderInUse, write
    from deploy.kubernetes.renderer import render as render_manifests
    from deploy.kubernetes.settings import RenderSettings

    settings = RenderSettings(
        image_prefix=image_prefix,
        tag=tag,
        namespace=namespace,
        profile=profile,
        gpu=gpu,
        cpus=cpus,
        prometheus=prometheus,
        monitoring_namespace=monitoring_namespace,
        keda=not no_keda,
    )
    try:
        texts = render_manifests(_cluster(path), settings)
    except (CannotBuild, OSError) as error:
        raise click.ClickException(str(error)) from None
    try:
        write(texts, output)
    except FolderInUse as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written: {error.strerror or error}\n  name another folder: -o manifests"
        ) from None
    if as_document:
        click.echo(as_json({"written": [str(output / name) for name in texts]}))
        return
    for name in texts:
        click.echo(f"WRITTEN  {output / name}")


@render.command(short_help="Print a shell script that builds the images.")
@_shared
@click.option(
    "--base-image", metavar="IMAGE", help="With python3 3.11 or newer. [default: python:3.11-slim-bookworm]"
)
def images(
    path: Path, image_prefix: str, tag: str | None, profile: str | None, gpu: bool, base_image: str | None
) -> None:
    """Print a shell script that builds every image that the manifests name: `crema render images … | sh`."""
    from deploy.containers.images import CannotBuild, build_script
    from deploy.kubernetes.settings import RenderSettings

    settings = RenderSettings(image_prefix=image_prefix, tag=tag, profile=profile, gpu=gpu)
    try:
        click.echo(build_script(_cluster(path), settings, base_image), nl=False)
    except (CannotBuild, OSError) as error:
        raise click.ClickException(str(error)) from None


def _cluster(path: Path) -> ResolvedCluster:
    from crema.host.config import ConfigError, load_cluster, resolve_cluster

    try:
        cluster = resolve_cluster(load_cluster(path))
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    for refused in cluster.refused:
        click.echo(f"SKIPPED  {refused.name}@{refused.version}  {refused.problem}", err=True)
    return cluster
