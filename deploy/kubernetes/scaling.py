"""How many pods: a KEDA ScaledObject that follows `crema:replicas_wanted`, or an autoscaler on CPU for the coordinators."""

from __future__ import annotations

from typing import Any, Final

from deploy.kubernetes.names import labels

Object = dict[str, Any]

POLL_S: Final = 10
"""How often the rule's number is asked for: no more often than it changes."""


def scaled_object(component: str, name: str, query: str, prometheus: str, *, least: int, most: int) -> Object:
    """As many replicas as the rule says. Everything in a trigger is a string."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "labels": labels(component, name)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "pollingInterval": POLL_S,
            "minReplicaCount": least,
            "maxReplicaCount": most,
            # hysteresis, cooldown and steps are in the rule: a second set of them here would only delay it
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": _at_once()},
                        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": _at_once()},
                    }
                }
            },
            "triggers": [
                {
                    "type": "prometheus",
                    "metricType": "AverageValue",
                    "metadata": {
                        "serverAddress": prometheus,
                        "query": query,
                        "threshold": "1",
                        # no number is no reason to shrink: without Prometheus all stays as it is
                        "ignoreNullValues": "false",
                    },
                }
            ],
        },
    }


def replicas_wanted(**matched: str) -> str:
    """The query for one row of the rule's answer."""
    pairs = ",".join(f'{label}="{value}"' for label, value in matched.items())
    return f"max(crema:replicas_wanted{{{pairs}}})"


def cpu_autoscaler(component: str, name: str, *, least: int, most: int, percent: int) -> Object:
    """A HorizontalPodAutoscaler that keeps the CPU near `percent` of what the pods asked for."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "labels": labels(component, name)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": percent},
                    },
                }
            ],
        },
    }


def _at_once() -> list[Object]:
    return [{"type": "Percent", "value": 100, "periodSeconds": POLL_S}]
