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
_PICKLE_READERS: Final = frozenset(
    {
        "torch.load", "torch.jit.load", "torch.serialization.load", "torch.hub.load", "torch.hub.load_state_dict_from_url",
        "multiprocessing.reduction.ForkingPickler", "pandas.compat.pickle_compat",
    }
)  # fmt: skip
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
        return [
            Mistake(shown_as, 0, 0, "", f"cannot be read as Python: {str(error) or type(error).__name__}")
        ]
    nodes = _nodes(tree)
    names = _Names(nodes)
    return [
        Mistake(shown_as, node.lineno, node.col_offset + 1, "", what, None, way_out)
        for node in nodes
        for what, way_out in _refusals(node, names)
    ]


def _nodes(tree: ast.AST) -> list[Any]:
    """Everything that has a place, in the order of places."""
    return sorted(
        (node for node in ast.walk(tree) if hasattr(node, "lineno")),
        key=lambda node: (node.lineno, node.col_offset),
    )


class _Names:
    """What names stand for in a file: `t` → `torch`, `load` → `torch.load`; and names of constant texts."""

    def __init__(self, nodes: list[Any]) -> None:
        self.imported: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.imported.update({alias.asname: alias.name} if alias.asname else {top: top})
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                self.imported.update(
                    {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                )
            elif isinstance(node, ast.Assign) and (text := self.text(node.value)) is not None:
                self._texts.update({name.id: text for name in node.targets if isinstance(name, ast.Name)})

    def text(self, node: ast.expr) -> str | None:
        """The text that an expression is, as far as reading tells: constants, their sums, names of them."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.text(node.left), self.text(node.right)
            return None if left is None or right is None else left + right
        return self._texts.get(node.id) if isinstance(node, ast.Name) else None

    def dotted(self, node: ast.expr) -> str:
        """`torch.load` of an expression that means it; it begins with a dot where it does not begin with a name."""
        parts: list[str] = []
        while True:
            if isinstance(node, ast.Attribute):
                parts.append(node.attr)
                node = node.value
            elif (looked_up := self._looked_up(node)) is not None:
                parts.append(looked_up[1])
                node = looked_up[0]
            else:
                break
        first = self.imported.get(node.id, node.id) if isinstance(node, ast.Name) else ""
        return ".".join([first, *reversed(parts)])

    def _looked_up(self, node: ast.expr) -> tuple[ast.expr, str] | None:
        """`torch` and `load` of `getattr(torch, "load")`."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            attribute = self.text(node.args[1]) if len(node.args) > 1 else None
            return None if attribute is None else (node.args[0], attribute)
        return None

    def is_imported(self, dotted: str) -> bool:
        """Whether it begins with a module, and not with a variable of the file's own."""
        return dotted.partition(".")[0] in {name.partition(".")[0] for name in self.imported.values()}


def _refusals(node: ast.AST, names: _Names) -> Iterator[tuple[str, str]]:
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
        yield from _call(node, names)
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            yield from _reference(names.dotted(node), names)
    elif isinstance(node, (ast.Attribute, ast.Name)):
        yield from _reference(names.dotted(node), names)
    elif isinstance(node, ast.Subscript) and names.dotted(node.value) == "sys.modules":
        yield from _import(names.text(node.slice) or "")


def _import(module: str) -> Iterator[tuple[str, str]]:
    top = module.partition(".")[0]
    if top in _PICKLES:
        yield f"imports {top}: a pickle runs code when it is read", "keep weights as safetensors or ONNX"
    elif top == "crema":
        yield (
            "imports crema: a package works without it, in a notebook and under plain pytest",
            "remove the import",
        )


def _reference(name: str, names: _Names) -> Iterator[tuple[str, str]]:
    """What may not be named, called or not: `read = torch.load` reads pickles, too."""
    if name in _PICKLE_READERS:
        yield f"uses {name}, which reads pickles", "safetensors.torch.load_file"
    elif name.rpartition(".")[2] in _PICKLES and "." in name and names.is_imported(name):
        yield from _import(name.rpartition(".")[2])


def _call(node: ast.Call, names: _Names) -> Iterator[tuple[str, str]]:
    name = names.dotted(node.func)
    last = name.rpartition(".")[2]
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    first = node.args[0] if node.args else named.get("name")
    text = None if first is None else names.text(first)
    if text is not None and last in ("__import__", "import_module"):
        yield from _import(text)
    if text is not None and name.removeprefix("builtins.") in ("exec", "eval", "compile"):
        yield from _inside(text)
    if last in _PICKLE_CALLS:
        yield f"calls {last}: a pickle runs code when it is read", "keep data as JSON, .npy or safetensors"
    for key, value in _given(node, name):
        if key in ("allow_pickle", "trust_remote_code") and not _is_false(value):
            yield f"passes {key}, which runs code from a file", f"{key}=False, or leave it out"


def _inside(code: str) -> Iterator[tuple[str, str]]:
    """What is refused in code that is kept as a text."""
    try:
        nodes = _nodes(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    names = _Names(nodes)
    for node in nodes:
        yield from _refusals(node, names)


def _given(node: ast.Call, name: str) -> Iterator[tuple[str, ast.expr]]:
    """The keywords of a call, also those of a map that is spread into it, and numpy.load's third argument."""
    for keyword in node.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value
        elif isinstance(keyword.value, ast.Dict):
            for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
    if name == "numpy.load" and len(node.args) > 2:
        yield "allow_pickle", node.args[2]


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
