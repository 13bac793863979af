"""The surroundings of a worker: an environment without secrets and an empty folder of its own.

What a worker may inherit is listed; everything else, the cluster token first of all, stays behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from crema.host.left_behind import end_left_behind
from crema.host.process import MMAP_THRESHOLD_BYTES, TOP_PAD_BYTES, TRIM_THRESHOLD_BYTES

_INHERITED: Final = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
# thread counts, devices and the allocators of the numerical libraries: what operators tune
_INHERITED_PREFIXES: Final = (
    "LC_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "MKL_", "OPENBLAS_", "GOMP_", "KMP_", "PYTORCH_", "TORCH_", "ORT_",
    "MALLOC_",
)  # fmt: skip
_SECRET_WORDS: Final = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "KEY")


def worker_environment(
    inherited: Mapping[str, str], light_ring: Path, scratch: Path, workers: int = 1, user: int | None = None
) -> dict[str, str]:
    """The environment of a worker whose PYTHONPATH is `light_ring` and whose home is `scratch`.

    One of several workers is told to use its share of the cores, unless somebody tuned that already. A `user` of its own
    has a name only here: libraries that ask for one find it.
    """
    environment = {
        name: value
        for name, value in inherited.items()
        if (name in _INHERITED or name.startswith(_INHERITED_PREFIXES))
        and not any(word in name for word in _SECRET_WORDS)
    }
    # what `raise_malloc_thresholds` does for our own processes
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(MMAP_THRESHOLD_BYTES))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(TRIM_THRESHOLD_BYTES))
    environment.setdefault("MALLOC_TOP_PAD_", str(TOP_PAD_BYTES))
    if workers > 1:
        share = str(max(1, len(os.sched_getaffinity(0)) // workers))
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment.setdefault(name, share)
    if user is not None:
        environment.update(USER="crema", LOGNAME="crema")
    environment.update(
        PYTHONPATH=str(light_ring),
        PYTHONUNBUFFERED="1",
        PYTHONNOUSERSITE="1",
        HOME=str(scratch),
        TMPDIR=str(scratch),
        # libraries that would look for newer weights at start: a model has what its package brings
        HF_HUB_OFFLINE="1",
    )
    return environment


def make_scratch(folder: Path, user: int | None = None) -> Path:
    """An empty folder in `folder` for one worker: its working directory, home and place for temporary files."""
    scratch = Path(tempfile.mkdtemp(prefix="worker-", dir=folder))
    if user is not None:
        os.chown(scratch, user, user)
    return scratch


def remove_scratch(scratch: Path) -> None:
    """Remove the folder of a worker that has ended, and end what the model left running there."""
    end_left_behind(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
