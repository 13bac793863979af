"""What the host is told of an exception that a model raised: one line, a traceback, and which kind of trouble it is.

Light ring. It classifies; splitting batches and replacing processes are the host's.
"""

from __future__ import annotations

import gc
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from crema.outcomes import BatchInvalid, text_of

MAX_TRACEBACK_CHARS: Final = 8000

# What the libraries say: torch ("CUDA out of memory", "HIP out of memory"), CUDA itself, cuBLAS, ONNX Runtime, numpy.
_NO_MEMORY: Final = (
    "out of memory",
    "cublas_status_alloc_failed",
    "failed to allocate memory",
    "unable to allocate",
)
# After one of these every further call of the process fails too.
_CUDA_BROKEN: Final = (
    "cuda error",
    "cudnn_status_execution_failed",
    "cublas_status_execution_failed",
    "device-side assert",
)
# where the light ring's own code says it is: as source, and compiled
_RING: Final = (Path(__file__).parent, Path("crema"))


def described(error: BaseException) -> dict[str, Any]:
    """`code`, `message` (one line), and for the model's own exceptions `kind`, its class, and `traceback`.

    `trouble` is `memory` or `cuda` when it is one of these.
    """
    if isinstance(error, BatchInvalid):
        return {"code": "model_output_invalid", "message": str(error)}
    trace = error.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename).parent in _RING:
        trace = trace.tb_next  # the light ring's own frames say nothing to the model's author
    text = "".join(traceback.format_exception(type(error), error, trace))
    line = (f"{type(error).__name__}: {text_of(error)}".strip().splitlines() or [""])[0][:500]
    told: dict[str, Any] = {
        "code": "model_failed",
        "kind": type(error).__name__,
        "message": line.encode("utf-8", "replace").decode(),
        "traceback": text[-MAX_TRACEBACK_CHARS:].encode("utf-8", "replace").decode(),
    }
    trouble = _trouble(error)
    if trouble is not None:
        told["trouble"] = trouble
    return told


def _trouble(error: BaseException) -> str | None:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory"
    if not isinstance(error, RuntimeError):
        # a model that refuses an item may well quote such words; the libraries raise RuntimeError and its kinds
        return None
    words = text_of(error).lower()
    if any(sign in words for sign in _NO_MEMORY):
        return "memory"
    return "cuda" if any(sign in words for sign in _CUDA_BROKEN) else None


def free_memory() -> None:
    """Give back what the failed batch held, so that a smaller one finds room."""
    gc.collect()
    torch = sys.modules.get("torch")  # only what the model itself has imported
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
