"""YamlSource: a YAML file read so that every mistake in it can be named by line, column and dotted path.

It collects all mistakes before it complains. It refuses what YAML lets pass silently: keys given twice, keys that are
not text (`3.10:` is a number), anchors and aliases, dates made of text. What the keys mean is the business of the
pydantic models of `manifest` and `config`; how pydantic's words become ours is that of `mistakes`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_SHOWN_CHARS = 60
_MAX_BYTES = 1 << 20

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a file: where (`line` and `column` count from 1; 0 = the file as a whole), what, and a way out."""

    file: str
    line: int
    column: int
    path: str
    what: str
    got: str | None = None
    try_: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        text = place + (f"{self.path}: " if self.path else "") + self.what
        if self.got is not None:
            text += f" (got {self.got})"
        return text if self.try_ is None else f"{text}\n  try: {self.try_}"


class SourceError(Exception):
    """A file was refused. `mistakes` holds all of them, in the order of the file; `str()` is the block to print."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def dotted(location: Sequence[str | int]) -> str:
    """`("models", "tags", "versions", "3.1", "replicas")` → `models.tags.versions."3.1".replicas`; indices as `[0]`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _PLAIN_KEY.match(part) else json.dumps(part, ensure_ascii=False)
            text += f".{shown}" if text else shown
    return text


def shown_value(value: object) -> str:
    """A value as a mistake shows it: text in quotes, long text cut, containers and nothing by name."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN_CHARS else value[: _SHOWN_CHARS - 1] + "…"
        return json.dumps(cut, ensure_ascii=False)
    return json.dumps(value) if isinstance(value, (bool, int)) else str(value)


class _Refused(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases (a few lines of them can stand for gigabytes) and without dates."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _Refused(problem="aliases (`*name`) are not read here", problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class YamlSource:
    """One parsed file: `data` in plain Python (dict with text keys, list, str, int, float, bool, None) and its nodes.

    `mistakes` are those of the YAML itself; `data` is usable all the same, unless `is_broken`.
    """

    file: str
    data: Any
    root: yaml.Node | None
    mistakes: list[Mistake] = field(default_factory=list)
    is_broken: bool = False

    @classmethod
    def read(cls, path: Path, shown_as: str | None = None) -> YamlSource:
        """Reads a file of at most 1 MiB. Never raises for its content: what is wrong stands in `mistakes`."""
        file = shown_as or path.name
        try:
            with path.open("rb") as stream:
                content = stream.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise ValueError("the file is larger than 1 MiB")
            text = content.decode("utf-8-sig")
        except OSError as error:
            what = (
                "there is no such file"
                if isinstance(error, FileNotFoundError)
                else f"cannot be read: {error.strerror}"
            )
            return cls._broken(file, 0, 0, what, f"create {file}, or name another folder or file")
        except ValueError as error:
            what = "the file is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            return cls._broken(file, 0, 0, what, "save it as a small UTF-8 text file")
        return cls.parse(text, file)

    @classmethod
    def parse(cls, text: str, file: str) -> YamlSource:
        """The same for text at hand; `file` is the name that mistakes show."""
        try:
            loader = _Loader(text)
            try:
                root = loader.get_single_node()
                source = cls(file, None, root)
                data = source._construct(loader, root, ()) if root is not None else None
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            what = error.problem or "this is not YAML"
            hint = (
                "write the value in the alias's place"
                if isinstance(error, _Refused)
                else "check the indentation, and the quotes around text with : # { or ["
            )
            return cls._broken(file, line, column, what, hint)
        # a ValueError is a number of thousands of digits
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            what = (
                "nested too deeply"
                if isinstance(error, RecursionError)
                else f"this is not YAML: {error}".splitlines()[0]
            )
            return cls._broken(file, 1, 1, what, None)
        return cls(file, data, root, source.mistakes)

    @classmethod
    def _broken(cls, file: str, line: int, column: int, what: str, hint: str | None) -> YamlSource:
        return cls(file, None, None, [Mistake(file, line, column, "", what, None, hint)], is_broken=True)

    def _construct(self, loader: _Loader, node: yaml.Node, at: Location) -> Any:
        if isinstance(node, yaml.MappingNode):
            built: dict[str, Any] = {}
            first_line: dict[str, int] = {}
            for key_node, value_node in node.value:
                key = self._key(loader, key_node, at)
                if key in built:
                    what = f"is given twice (first on line {first_line[key]})"
                    self._add(key_node, (*at, key), what, None, "remove one of them")
                    continue
                first_line[key] = key_node.start_mark.line + 1
                built[key] = self._construct(loader, value_node, (*at, key))
            return built
        if isinstance(node, yaml.SequenceNode):
            return [self._construct(loader, item, (*at, index)) for index, item in enumerate(node.value)]
        return loader.construct_object(node)

    def _key(self, loader: _Loader, node: yaml.Node, at: Location) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._add(node, at, "a key must be text", None, "key: value")
            return f"?{node.start_mark.line + 1}:{node.start_mark.column + 1}"
        if not isinstance(loader.construct_object(node), str):
            what = "a key must be text in quotes here: YAML reads it as a number, a boolean or nothing"
            self._add(node, (*at, node.value), what, node.value, f'"{node.value}":')
        return str(node.value)

    def _add(self, node: yaml.Node, at: Location, what: str, got: str | None, hint: str | None) -> None:
        mark = node.start_mark
        self.mistakes.append(Mistake(self.file, mark.line + 1, mark.column + 1, dotted(at), what, got, hint))

    def mistake(
        self, location: Sequence[str | int], what: str, *, got: str | None = None, hint: str | None = None
    ) -> Mistake:
        """A mistake at `location`: at the key, or at the closest thing that is there when the key is missing."""
        line, column = self.position(location)
        return Mistake(self.file, line, column, dotted(location), what, got, hint)

    def position(self, location: Sequence[str | int]) -> tuple[int, int]:
        """Line and column (from 1) of the key, or list item, that `location` names, or of its nearest parent."""
        node, mark = self.root, self.root.start_mark if self.root is not None else None
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            mark, node = found[0].start_mark, found[1]
        return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)

    def written(self, location: Sequence[str | int]) -> str | None:
        """The value at `location` as it stands in the file (`3.10`, not 3.1), or None where there is nothing plain."""
        node: yaml.Node | None = self.root
        for part in location:
            found = _child(node, part)
            if found is None:
                return None
            node = found[1]
        if isinstance(node, yaml.ScalarNode):
            if node.tag.endswith(":str"):
                return shown_value(node.value)
            return str(node.value) if node.value and not node.tag.endswith(":null") else "nothing"
        return None

    def has(self, location: Sequence[str | int]) -> bool:
        """Whether the file says something at `location`."""
        node: yaml.Node | None = self.root
        for part in location:
            found = _child(node, part)
            if found is None:
                return False
            node = found[1]
        return True


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """(the node whose mark names the place, the value's node) of one step down, or None."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        item = node.value[part]
        return item, item
    return None
