"""Who may talk to whom: NetworkPolicies. A pod that one selects is closed to everything that it does not name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from crema.host.config import FetchConfig
from crema.host.fetch_hosts import USUAL_PORTS, parse_host_rule, parse_network
from deploy.kubernetes.names import component_selector, labels, selector

Object = dict[str, Any]

# Not the internet: what a fetcher must not reach unless it is told to.
PRIVATE_NETWORKS: Final = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
PRIVATE_NETWORKS_6: Final = ("::/8", "64:ff9b::/16", "fc00::/7", "fe80::/10", "ff00::/8")
# Where a cluster's resolver listens on each node, where there is one.
_NODE_LOCAL_DNS: Final = "169.254.20.10/32"


def network_policy(component: str, name: str, *, ingress: list[Object], egress: list[Object]) -> Object:
    """Closes a Deployment's pods but for these rules."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": labels(component, name)},
        "spec": {
            "podSelector": {"matchLabels": selector(component, name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def from_tier(component: str, *ports: int) -> Object:
    """Ingress from the pods of one tier."""
    return {"from": [{"podSelector": component_selector(component)}], "ports": _tcp(ports)}


def from_namespace(namespace: str, *ports: int) -> Object:
    """Ingress from a namespace: where Prometheus runs."""
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"from": [{"namespaceSelector": where}], "ports": _tcp(ports)}


def from_anywhere(*ports: int) -> Object:
    """Ingress from whoever gets here."""
    return {"ports": _tcp(ports)}


def to_tier(component: str, *ports: int) -> Object:
    """Egress to the pods of one tier."""
    return {"to": [{"podSelector": component_selector(component)}], "ports": _tcp(ports)}


def to_dns() -> Object:
    """Egress to the cluster's resolver."""
    resolver = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    return {
        "to": [resolver, {"ipBlock": {"cidr": _NODE_LOCAL_DNS}}],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    }


def to_fetched(fetch: FetchConfig) -> list[Object]:
    """Egress to where images are fetched from: the internet, and the private networks that are named."""
    if not fetch.enabled:
        return []
    ports: set[int] = set()
    for host in fetch.hosts:
        port = parse_host_rule(host).port
        ports |= USUAL_PORTS if port is None else {port}
    blocks: list[Object] = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(PRIVATE_NETWORKS)}},
        {"ipBlock": {"cidr": "::/0", "except": list(PRIVATE_NETWORKS_6)}},
        *({"ipBlock": {"cidr": str(parse_network(network))}} for network in fetch.allow_private),
    ]
    return [{"to": blocks, "ports": _tcp(sorted(ports))}]


def _tcp(ports: Iterable[int]) -> list[Object]:
    return [{"port": port, "protocol": "TCP"} for port in ports]
