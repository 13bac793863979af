"""The preprocessors on Kubernetes."""

from __future__ import annotations

from typing import Any, Final

from crema.host.config import ClusterConfig, Replicas
from deploy.containers.images import preprocessor_image
from deploy.kubernetes import pods
from deploy.kubernetes.names import COORDINATOR, PREPROCESSOR
from deploy.kubernetes.network import from_namespace, from_tier, network_policy, to_dns, to_fetched
from deploy.kubernetes.scaling import replicas_wanted, scaled_object
from deploy.kubernetes.settings import RenderSettings
from deploy.tiers import fetch_arguments

Object = dict[str, Any]

AUTO_WORKERS: Final = 2
"""Decode processes per pod where `workers: auto` leaves it to us: a pod has the cores it asks for, not a machine's."""
HOST_MIB: Final = 256
DECODER_MIB: Final = 256
DECODER_MOST_MIB: Final = 1024
"""A decoder's memory is limited to this by itself."""
STARTS_WITHIN_S: Final = 600


def preprocessor_objects(config: ClusterConfig, settings: RenderSettings) -> list[Object]:
    """Everything that the tier needs."""
    name = PREPROCESSOR
    least, most = _limits(config.preprocessor.replicas)
    scaled = (
        [
            scaled_object(
                PREPROCESSOR,
                name,
                replicas_wanted(tier="preprocessor"),
                settings.prometheus,
                least=least,
                most=most,
            )
        ]
        if settings.keda
        else []
    )
    return [
        pods.deployment(
            PREPROCESSOR,
            name,
            _container(config, settings),
            insecure=config.insecure,
            replicas=None if settings.keda else least,
            starts_within_s=STARTS_WITHIN_S,
        ),
        pods.service(PREPROCESSOR, name, [("channel", pods.CHANNEL_PORT, "channel")], headless=True),
        pods.disruption_budget(PREPROCESSOR, name),
        network_policy(
            PREPROCESSOR,
            name,
            ingress=[
                from_tier(COORDINATOR, pods.CHANNEL_PORT),
                from_namespace(settings.monitoring_namespace, pods.HTTP_PORT),
            ],
            egress=[to_dns(), *to_fetched(config.fetch)],
        ),
        *scaled,
    ]


def _limits(replicas: int | Replicas) -> tuple[int, int]:
    return (replicas.min, replicas.max) if isinstance(replicas, Replicas) else (replicas, replicas)


def _container(config: ClusterConfig, settings: RenderSettings) -> pods.Container:
    preprocessor = config.preprocessor
    workers = AUTO_WORKERS if isinstance(preprocessor.workers, str) else preprocessor.workers
    arguments = (
        "--channel", f"0.0.0.0:{pods.CHANNEL_PORT}",
        "--http", f"0.0.0.0:{pods.HTTP_PORT}",
        "--workers", str(workers),
        *fetch_arguments(config.fetch),
        *(("--formats", ",".join(preprocessor.formats)) if preprocessor.formats else ()),
        *(("--insecure",) if config.insecure else ()),
    )  # fmt: skip
    return pods.Container(
        image=preprocessor_image(settings),
        arguments=arguments,
        ports={"channel": pods.CHANNEL_PORT, "http": pods.HTTP_PORT},
        health_port="http",
        ready_path="/readyz",
        metrics_port=pods.HTTP_PORT,
        cpus=workers,
        memory_mib=HOST_MIB + DECODER_MIB * workers,
        memory_limit_mib=HOST_MIB * 2 + DECODER_MOST_MIB * workers,
    )
