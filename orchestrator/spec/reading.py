"""YAML as a spec needs it: version 1.2's scalars, the line of every key and entry, and nothing that builds
objects. What is wrong in the text is collected, not raised, so that all of it can be said at once."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.spec.problems import Path, Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_VALUES = 20_000
_MAX_DIGITS = 30
_TOO_MANY = f"too large for a spec: more than {MAX_VALUES:,} values, those of aliases repeated"
_TAG = "tag:yaml.org,2002:"


@dataclass
class Text:
    """What a YAML text says: its value, the line of every path in it, and what is wrong with it."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Composes nodes by the core schema of YAML 1.2: 1e-4 is a number, `on` and `no` are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (yaml's own)
    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        self.nodes += 1
        if self.nodes > 2 * MAX_VALUES:  # a key is a node too; said while reading, which takes half a minute a megabyte
            raise _TooLargeError(_TOO_MANY)
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """Quotes text that `read`, by YAML 1.2, would take for a number, besides what YAML 1.1 would."""


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    for _class in (_Loader, Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def read(text: str) -> Text:
    """The one document in `text`. A text that is no YAML gives no value and one problem with its line."""
    if len(text) > MAX_BYTES:
        return Text(problems=[Problem((), f"too long for a spec: more than {MAX_BYTES:,} characters")])
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"no valid YAML: {_reason(error, text)}"
        return Text(lines={(): mark.line + 1} if mark else {}, problems=[Problem((), message)])
    except _TooLargeError as error:
        return Text(problems=[Problem((), str(error))])
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"no valid YAML: the character {chr(int(error.character))!a} is not allowed"
        return Text(lines={(): line}, problems=[Problem((), message)])
    result = Text()
    if node is not None:
        result.lines[()] = node.start_mark.line + 1
        try:
            result.value = _Builder(result).build(node, ())
        except _TooLargeError as error:
            return Text(lines=result.lines, problems=[Problem((), str(error))])
    return result


def control_character(text: str) -> str:
    """The first character of `text` that no name, path or option may hold, or ""."""
    return next((c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cs")), "")


def _reason(error: yaml.MarkedYAMLError, text: str) -> str:
    """PyYAML's complaint, with the remedy for the usual slips."""
    problem = error.problem or error.context or "unreadable"
    mark = error.problem_mark
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or r"'\t'" in problem:
        return "a tab stands where YAML wants spaces; indent with spaces"
    if "mapping values are not allowed" in problem:
        return "a ':' where none may stand; check the indentation, and quote text that holds ': '"
    if "but found another document" in problem:
        return "a second document begins here; a spec is one document, without '---'"
    if "could not find expected ':'" in problem:
        return "a key without its ':'"
    if "undefined alias" in problem:
        return f"{problem.removeprefix('found ')}; write the value out"
    return f"{error.context}, {problem}" if error.context and error.problem else problem


class _TooLargeError(Exception):
    """More than a spec may hold, by itself or once aliases are expanded."""


class _Builder:
    """Turns nodes into plain values, once a mention, so that aliases cannot multiply uncounted."""

    def __init__(self, result: Text) -> None:
        self.result = result
        self.count = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.count += 1
        if len(path) > MAX_DEPTH:
            raise _TooLargeError("nested too deeply, or an alias stands inside itself")
        if self.count > MAX_VALUES:
            raise _TooLargeError(_TOO_MANY)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self._entry(child, (*path, i)) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and kind in ("null", "bool", "int", "float", "str"):
            return self._scalar(node, kind, path)
        tag = node.tag.replace(_TAG, "!!")
        self._wrong(path, f"the tag {tag} is not allowed: a spec holds plain values only; remove it")
        return None

    def _entry(self, node: yaml.Node, path: Path) -> Any:
        self.result.lines[path] = node.start_mark.line + 1
        return self.build(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(path, f"the key on line {line} is a list or mapping; a key is text")
                continue
            inner = (*path, key.value)
            first = self.result.lines.setdefault(inner, line)
            if key.tag != _TAG + "str":
                self._wrong(inner, "a key is text, and this is none; quote it")
            elif key.value == "<<" and not key.style:
                self._wrong(path, f"the merge key << on line {line} is not of YAML 1.2; write its keys out")
            elif key.value in value:
                self._wrong(inner, f"the key stands twice, on lines {first} and {line}; remove one")
            else:
                value[key.value] = self.build(child, inner)
        return value

    def _scalar(self, node: yaml.ScalarNode, kind: str, path: Path) -> Any:
        text: str = node.value
        if kind == "null":
            return None
        if kind == "str":
            control = control_character(text)
            return self._wrong(path, f"the character {control!a} is not allowed") if control else text
        if kind == "bool":
            return text.lower() == "true"
        if len(text) > _MAX_DIGITS:
            return self._wrong(path, f"the number is longer than {_MAX_DIGITS} characters")
        try:
            if kind == "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            return self._wrong(path, f"{text!r} is no number")
        return number if math.isfinite(number) else self._wrong(path, f"expected a finite number, found {text}")

    def _wrong(self, path: Path, message: str) -> None:
        self.result.problems.append(Problem(path, message))
