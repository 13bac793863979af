"""The command line of a minion, and its process."""

from __future__ import annotations

import sys
from pathlib import Path

from crema.host.manifest import ManifestError, load_manifest
from crema.host.tier import TOKEN_VARIABLE, arguments, check_listeners, cluster_token, host_port, run


def main() -> None:
    """Parse, check, run."""
    parser = arguments(
        "minion", "Serve one version of one model: a host with a gate and a batcher, and its worker."
    )
    parser.add_argument("--package", type=Path, required=True, help="folder of the model version")
    parser.add_argument("--python", type=Path, required=True, help="interpreter of the model's virtualenv")
    parser.add_argument(
        "--channel", type=host_port, required=True, help="HOST:PORT for coordinators and preprocessors"
    )
    parser.add_argument(
        "--http", type=host_port, required=True, help="HOST:PORT for health, metrics and POST /v1/infer"
    )
    parser.add_argument("--warmup", type=Path, help=".npz with tensors to warm up with")
    parser.add_argument("--curve", type=Path, help="what `crema bench` measured, to start from")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N; default: cpu")
    parser.add_argument("--light", type=Path, help="folder of the light ring; default: a temporary one")
    args = parser.parse_args()
    check_listeners(
        args,
        [args.channel, args.http],
        has_secret=cluster_token() is not None,
        how=f"set {TOKEN_VARIABLE} to the same secret on all tiers",
    )
    for name in ("package", "python", "warmup", "curve", "light"):
        path = getattr(args, name)
        if path is not None:
            # not resolved: a virtualenv's interpreter is a link, and is recognised by where the link is
            setattr(args, name, path.absolute())
    try:
        manifest = load_manifest(args.package)
    except ManifestError as error:
        sys.exit(str(error))

    from minion.app import serve

    run(
        "minion",
        args,
        lambda stop: serve(args, manifest, stop),
        model=manifest.name,
        version=manifest.version,
    )
