"""Surroundings: what a package's code gets to see while it is checked: hardly any environment, an empty folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_INHERITED: Final = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH"})
# what a minion's worker inherits, too: thread counts, devices, allocators
_INHERITED_PREFIXES: Final = (
    "LC_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "GOMP_", "KMP_", "PYTORCH_", "TORCH_", "ORT_", "MALLOC_",
)  # fmt: skip
_SECRET_WORDS: Final = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "KEY")


def probe_environment(
    inherited: Mapping[str, str], light_ring: Path, scratch: Path, visible: str
) -> dict[str, str]:
    """The environment of a probe worker: `scratch` is its home and place for temporary files, `visible` the GPUs."""
    environment = {
        name: value
        for name, value in inherited.items()
        if (name in _INHERITED or name.startswith(_INHERITED_PREFIXES))
        and not any(word in name for word in _SECRET_WORDS)
    }
    environment.update(
        PYTHONPATH=str(light_ring),
        PYTHONUNBUFFERED="1",
        PYTHONNOUSERSITE="1",
        HOME=str(scratch),
        TMPDIR=str(scratch),
        HF_HUB_OFFLINE="1",
        CUDA_VISIBLE_DEVICES=visible,
    )
    return environment


def own_root() -> Path:
    """The folder that holds crema's own packages: a checkout or site-packages."""
    return Path(os.path.realpath(__file__)).parent.parent
