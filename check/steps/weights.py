"""Step `weights`: every file of weights is declared, has its digest, and is safetensors or ONNX by its bytes."""

from __future__ import annotations

from check.failure import StepFailed
from check.pickles import looks_like_a_pickle
from check.subject import Subject
from check.weights_format import FormatRefused, check_format, is_safetensors
from crema.host.package_paths import PathRefused, package_files

_SUFFIXES = (".safetensors", ".onnx", ".onnx.data", ".onnx_data")


def check_weights(subject: Subject) -> str:
    """Digests and formats are right; no pickle lies anywhere in the package."""
    manifest = subject.manifest
    declared = {weights.path for weights in manifest.weights}
    problems = []
    for path in package_files(subject.folder):
        shown = path.relative_to(subject.folder).as_posix()
        if not path.is_file():
            continue
        if looks_like_a_pickle(path) and shown not in declared:
            problems.append(
                f"{shown} is a pickle, which runs code when it is read; keep weights as safetensors or ONNX"
            )
        elif shown not in declared and (shown.lower().endswith(_SUFFIXES) or is_safetensors(path)):
            problems.append(
                f"{shown} is not declared; every file of weights stands in the manifest with its sha256"
            )
    try:
        problems += [str(mistake) for mistake in manifest.wrong_weights()]
    except (OSError, PathRefused) as error:
        problems.append(str(error))
    words = []
    for path_ in sorted(declared):
        try:
            words.append(f"{path_}: {check_format(manifest.path(path_), path_, declared)}")
        except (FormatRefused, OSError, PathRefused) as error:
            problems.append(str(error))
    if problems:
        raise StepFailed("\n".join(problems))
    return ", ".join(words) or "none declared"
