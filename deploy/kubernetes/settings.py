"""RenderSettings: what the manifests need to know besides `cluster.yaml`; one option of `crema render` each."""

from __future__ import annotations

from dataclasses import dataclass

from crema.host.config import ResolvedVersion


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Where the cluster runs, and on what."""

    image_prefix: str = "localhost/crema"
    """`REGISTRY/NAME`, before the image's own name."""
    tag: str | None = None
    """The tag of all images; None: one that is made of their contents."""
    namespace: str | None = None
    """None: whichever `kubectl` is told."""
    profile: str | None = None
    """The lock profile of every environment; None: the one that fits the device."""
    gpu: bool = False
    """Whether versions with `device: auto` get a GPU, too."""
    cpus: int = 2
    """Cores that each minion asks for; its numerical libraries use as many threads."""
    prometheus: str = "http://prometheus.monitoring.svc:9090"
    """Where KEDA asks for `crema:replicas_wanted`."""
    monitoring_namespace: str = "monitoring"
    """From where `/metrics` may be read."""
    keda: bool = True
    """False: a fixed number of replicas, each version's minimum, and nothing that needs KEDA."""

    def is_on_gpu(self, version: ResolvedVersion) -> bool:
        """Whether a version's minions ask for a GPU."""
        device = version.manifest.resources.device
        return device == "gpu" or (device == "auto" and self.gpu)
