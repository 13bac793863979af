"""The modules that every call passes through, compiled: where they lie, and how a tier's process comes to use them.

`scripts/compile.py` makes extension modules of them with mypyc, from the same sources and checked against the same types.
They lie in a folder named by what they were made from: where a source has changed since, or nothing was compiled, a
process runs the sources themselves. Tests run those, too, but for the processes that they start.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# `0`: run the sources, for whoever debugs them
SWITCH: Final = "CREMA_COMPILED"

_MINION: Final = (
    "admission", "answers", "batch_cap", "batcher", "body", "busy_time", "cost_curve", "dispatcher", "door", "gate", "hang_watch",
    "in_flight", "leftovers", "load_time", "meters", "peers", "request", "scatter", "splitter", "station", "suspects",
    "waiting_room", "watchdog", "worker_process",
)  # fmt: skip
_COORDINATOR: Final = (
    "answers", "api_v1", "attempt", "body", "call", "directory", "ejection", "event", "fair_shares", "fanout", "gate",
    "hop_errors", "journal", "keys", "layout", "media", "merge", "options", "patience", "peer", "plan", "quota", "replica",
    "retry_budget", "rights", "router", "second_try", "served", "version_figures", "violations", "visit", "wheel",
)  # fmt: skip
_PREPROCESSOR: Final = (
    "busy_share", "cost", "decode_budget", "decoder_process", "gate", "header", "intake", "link", "meters",
    "order", "pool", "queue_ahead", "spec", "tray", "waiting",
)  # fmt: skip
_HOST: Final = (
    "channel", "channel_client", "channel_server", "folded_counts", "folded_histogram", "headers", "host_guard",
    "http_answer", "http_body", "http_connection", "http_reader", "http_request", "latency_steps", "service",
    "short_way",
)  # fmt: skip
MODULES: Final = (
    "crema.wire",
    *(f"crema.host.{name}" for name in _HOST),
    *(f"coordinator.{name}" for name in _COORDINATOR),
    *(f"minion.{name}" for name in _MINION),
    *(f"preprocessor.{name}" for name in _PREPROCESSOR),
)
"""What is compiled for the tiers, together: calls between them do not pass through the interpreter."""
LIGHT_MODULES: Final = tuple(
    f"crema.{name}"
    for name in ("lender", "link", "loaded_model", "outcomes", "shared_pixels", "wire", "worker_loop")
)
"""What is compiled for workers, by itself: of the light ring alone."""


def home() -> Path:
    """Where compiled modules of these sources, for this Python, would lie."""
    digest = hashlib.sha256(str(sysconfig.get_config_var("SOABI")).encode())
    # what is compiled takes over constants of what it imports
    for package in ("crema", "crema/host", "coordinator", "minion", "preprocessor"):
        for source in sorted((ROOT / package).glob("*.py")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return Path(sys.prefix, "compiled", digest.hexdigest()[:16])


def light_home() -> Path | None:
    """Where those for workers lie, laid out as on a path of imports; None where processes run the sources.

    Their names say for which Python they are: another one does not see them.
    """
    return home() / "light" if is_compiled() else None


def is_compiled() -> bool:
    """Whether processes that start now run compiled modules."""
    return os.environ.get(SWITCH) != "0" and home().is_dir()


def prefer() -> bool:
    """Have this process import the compiled modules, if they are there; before it imports any of them. Says whether."""
    if not is_compiled():
        return False
    folder = home()
    sys.path.append(str(folder))
    for package in ("crema", "crema.host", "coordinator", "minion", "preprocessor"):
        importlib.import_module(package).__path__.insert(0, str(folder / package.replace(".", "/")))
    return True
