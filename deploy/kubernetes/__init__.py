"""The manifests of a cluster on Kubernetes, rendered from its `cluster.yaml`."""
