"""One version of a model on Kubernetes: its minions, the name they are found by, and how many there are."""

from __future__ import annotations

from typing import Any, Final

from crema.host.config import ResolvedVersion
from deploy.containers.images import PACKAGES, PYTHON, minion_image
from deploy.kubernetes import pods
from deploy.kubernetes.names import COORDINATOR, MINION, version_name
from deploy.kubernetes.network import from_namespace, from_tier, network_policy, to_dns
from deploy.kubernetes.scaling import replicas_wanted, scaled_object
from deploy.kubernetes.settings import RenderSettings

Object = dict[str, Any]

HOST_CPUS: Final = 0.5
HOST_MIB: Final = 512
WORKER_MIB: Final = 1024
"""What a worker whose manifest says nothing asks for."""
# Scheduling, and pulling an image of gigabytes onto a fresh machine.
BOOT_S: Final = 900


def minion_objects(version: ResolvedVersion, settings: RenderSettings, *, insecure: bool) -> list[Object]:
    """Everything that one version needs. Raises CannotBuild."""
    manifest = version.manifest
    name = version_name(manifest.name, version.version)
    scaled = (
        [
            scaled_object(
                MINION,
                name,
                replicas_wanted(model=manifest.name, version=version.version),
                settings.prometheus,
                least=version.replicas_min,
                most=version.replicas_max,
            )
        ]
        if settings.keda
        else []
    )
    return [
        pods.deployment(
            MINION,
            name,
            _container(version, settings, insecure),
            insecure=insecure,
            # what scales a Deployment owns their number: applying the manifests again must not set it back
            replicas=None if settings.keda else version.replicas_min,
            starts_within_s=BOOT_S + manifest.load_s,
            model=manifest.name,
            version=version.version,
        ),
        pods.service(MINION, name, [("channel", pods.CHANNEL_PORT, "channel")], headless=True),
        pods.disruption_budget(MINION, name),
        network_policy(
            MINION,
            name,
            ingress=[
                from_tier(COORDINATOR, pods.CHANNEL_PORT),
                from_namespace(settings.monitoring_namespace, pods.HTTP_PORT),
            ],
            egress=[to_dns()],
        ),
        *scaled,
    ]


def _container(version: ResolvedVersion, settings: RenderSettings, insecure: bool) -> pods.Container:
    manifest = version.manifest
    resources = manifest.resources
    on_gpu = settings.is_on_gpu(version)
    threads = str(max(1, settings.cpus // manifest.workers))
    memory_mib = HOST_MIB + manifest.workers * (resources.memory_mb or WORKER_MIB)
    arguments = (
        "--package", f"{PACKAGES}/{manifest.name}/{version.version}",
        "--python", PYTHON,
        "--channel", f"0.0.0.0:{pods.CHANNEL_PORT}",
        "--http", f"0.0.0.0:{pods.HTTP_PORT}",
        "--device", "cuda:0" if on_gpu else "cpu",
        *(("--insecure",) if insecure else ()),
    )  # fmt: skip
    return pods.Container(
        image=minion_image(version, settings),
        arguments=arguments,
        ports={"channel": pods.CHANNEL_PORT, "http": pods.HTTP_PORT},
        health_port="http",
        ready_path="/readyz",
        metrics_port=pods.HTTP_PORT,
        cpus=HOST_CPUS + settings.cpus,
        memory_mib=memory_mib,
        # a limit only where somebody said what the model needs: a guess would kill it
        memory_limit_mib=memory_mib if resources.memory_mb is not None else None,
        # a library that counts the machine's cores would start a thread on each
        environment={} if on_gpu else {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        gpu=on_gpu,
    )
