"""What a package's code may not hold, found by reading it: nothing of the package runs here.

Pickles run whatever their maker wrote into them, and crema is not there in a notebook: a package imports neither. Files
that are no Python are found, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from crema.host.package_paths import package_files
from crema.host.yaml_source import Mistake

_PICKLES: Final = frozenset(
    {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "pickle5", "jsonpickle"}
)
_PICKLE_CALLS: Final = frozenset({"read_pickle", "to_pickle"})
_MAX_BYTES: Final = 4 << 20


def refused_code(package_dir: Path) -> list[Mistake]:
    """Everything in the package's Python files that is not allowed, in order of file and line."""
    found: list[Mistake] = []
    for path in package_files(package_dir):
        if path.suffix == ".py" and path.is_file():
            found += _in_file(path, path.relative_to(package_dir).as_posix())
    return found


def _in_file(path: Path, shown_as: str) -> list[Mistake]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return [
                Mistake(
                    shown_as,
                    0,
                    0,
                    "",
                    "is larger than 4 MiB, which is no code",
                    None,
                    "keep data in other files",
                )
            ]
        tree = ast.parse(path.read_bytes(), shown_as)
    except SyntaxError as error:
        return [Mistake(shown_as, error.lineno or 1, error.offset or 1, "", f"is not Python: {error.msg}")]
    except (ValueError, RecursionError, MemoryError, OSError) as error:
        return [Mistake(shown_as, 0, 0, "", f"cannot be read as Python: {error}")]
    nodes: list[Any] = sorted(
        (node for node in ast.walk(tree) if hasattr(node, "lineno")),
        key=lambda node: (node.lineno, node.col_offset),
    )
    aliases = _aliases(nodes)
    return [
        Mistake(shown_as, node.lineno, node.col_offset + 1, "", what, None, way_out)
        for node in nodes
        for what, way_out in _refusals(node, aliases)
    ]


def _aliases(nodes: list[Any]) -> dict[str, str]:
    """What names stand for after the imports of a file: `t` → `torch`, `load` → `torch.load`."""
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def _refusals(node: ast.AST, aliases: dict[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _import(alias.name)
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        yield from _import(node.module or "")
        if (node.module or "").partition(".")[0] not in _PICKLES:
            for alias in node.names:
                if alias.name in _PICKLES:  # from sklearn.externals import joblib
                    yield from _import(alias.name)
    elif isinstance(node, ast.Call):
        yield from _call(node, aliases)


def _import(module: str) -> Iterator[tuple[str, str]]:
    top = module.partition(".")[0]
    if top in _PICKLES:
        yield f"imports {top}: a pickle runs code when it is read", "keep weights as safetensors or ONNX"
    elif top == "crema":
        yield (
            "imports crema: a package works without it, in a notebook and under plain pytest",
            "remove the import",
        )


def _call(node: ast.Call, aliases: dict[str, str]) -> Iterator[tuple[str, str]]:
    first, dot, rest = _name(node.func).partition(".")
    name = aliases.get(first, first) + dot + rest
    last = name.rpartition(".")[2]
    if last in ("__import__", "import_module") and node.args:
        wanted = node.args[0]
        if isinstance(wanted, ast.Constant) and isinstance(wanted.value, str):
            yield from _import(wanted.value)
    if name in ("torch.load", "torch.jit.load"):
        yield f"calls {name}, which reads pickles", "safetensors.torch.load_file"
    if last in _PICKLE_CALLS:
        yield f"calls {last}: a pickle runs code when it is read", "keep data as JSON, .npy or safetensors"
    for keyword in node.keywords:
        if keyword.arg in ("allow_pickle", "trust_remote_code") and not _is_false(keyword.value):
            yield (
                f"passes {keyword.arg}, which runs code from a file",
                f"{keyword.arg}=False, or leave it out",
            )


def _name(node: ast.expr) -> str:
    """`torch.load` of such an expression; empty where it does not begin with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (
        ".".join([node.id, *reversed(parts)])
        if isinstance(node, ast.Name)
        else ".".join(["", *reversed(parts)])
    )


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
