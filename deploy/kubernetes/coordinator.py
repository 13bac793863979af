"""The coordinators on Kubernetes: the only tier that callers reach."""

from __future__ import annotations

from typing import Any, Final

from crema.host.config import ClusterConfig
from deploy.containers.images import coordinator_image
from deploy.kubernetes.configuration import ROUTING, ROUTING_FILE
from deploy.kubernetes.names import COORDINATOR, MINION, PREPROCESSOR
from deploy.kubernetes.network import from_anywhere, from_namespace, network_policy, to_dns, to_tier
from deploy.kubernetes.pods import CHANNEL_PORT, Container, deployment, disruption_budget, service
from deploy.kubernetes.scaling import cpu_autoscaler
from deploy.kubernetes.settings import RenderSettings
from deploy.tiers import coordinator_arguments

Object = dict[str, Any]

PUBLIC_PORT: Final = 8000
OPERATIONS_PORT: Final = 8001
SERVICE_PORT: Final = 80

KEYS_SECRET: Final = "crema-api-keys"
KEYS_FILE: Final = "keys.json"
_KEYS_FOLDER: Final = "/etc/crema/keys"
_ROUTING_FOLDER: Final = "/etc/crema/routing"

LEAST: Final = 2
"""So that the API outlives a machine."""
# A coordinator waits for nothing but its own Python: the CPU is what it runs out of, so the CPU is what it is scaled on.
CPUS: Final = 1.0
CPU_PERCENT: Final = 70
GROWS: Final = 4
"""How many times the least there may be."""
MEMORY_MIB: Final = 512
# Its gate lets 512 MiB of photos in; their tensors come on top.
MEMORY_LIMIT_MIB: Final = 2048
# The process itself takes calls for 5 s more before it drains.
LET_GO_S: Final = 5
STARTS_WITHIN_S: Final = 600


def coordinator_objects(config: ClusterConfig, settings: RenderSettings) -> list[Object]:
    """Everything that the tier needs."""
    name, least = COORDINATOR, replicas(config)
    return [
        deployment(
            COORDINATOR,
            name,
            _container(config, settings),
            insecure=config.insecure,
            replicas=None,
            starts_within_s=STARTS_WITHIN_S,
        ),
        service(COORDINATOR, name, [("http", SERVICE_PORT, "public")], headless=False),
        disruption_budget(COORDINATOR, name),
        network_policy(
            COORDINATOR,
            name,
            ingress=[
                from_anywhere(PUBLIC_PORT),
                from_namespace(settings.monitoring_namespace, OPERATIONS_PORT),
            ],
            egress=[to_tier(MINION, CHANNEL_PORT), to_tier(PREPROCESSOR, CHANNEL_PORT), to_dns()],
        ),
        cpu_autoscaler(COORDINATOR, name, least=least, most=GROWS * least, percent=CPU_PERCENT),
    ]


def replicas(config: ClusterConfig) -> int:
    """At least so many coordinators: one pod is one process, so `coordinator.processes` counts pods here."""
    return max(LEAST, config.coordinator.processes)


def _container(config: ClusterConfig, settings: RenderSettings) -> Container:
    formats = config.preprocessor.formats
    arguments = (
        "--listen", f"0.0.0.0:{PUBLIC_PORT}",
        "--operations", f"0.0.0.0:{OPERATIONS_PORT}",
        "--routing", f"{_ROUTING_FOLDER}/{ROUTING_FILE}",
        *coordinator_arguments(config, f"{_KEYS_FOLDER}/{KEYS_FILE}", replicas(config)),
        *(("--formats", ",".join(formats)) if formats else ()),
    )  # fmt: skip
    keys = {"secretName": KEYS_SECRET, "defaultMode": 0o440, "optional": config.insecure}
    return Container(
        image=coordinator_image(settings),
        arguments=arguments,
        ports={"public": PUBLIC_PORT, "operations": OPERATIONS_PORT},
        health_port="operations",
        ready_path="/servez",
        metrics_port=OPERATIONS_PORT,
        cpus=CPUS,
        memory_mib=MEMORY_MIB,
        memory_limit_mib=MEMORY_LIMIT_MIB,
        let_go_s=LET_GO_S,
        volumes=[
            # whole folders: a file that is mounted by itself (subPath) never changes
            ("routing", _ROUTING_FOLDER, {"configMap": {"name": ROUTING}}),
            ("keys", _KEYS_FOLDER, {"secret": keys}),
        ],
    )
