"""`--set KEY=VALUE`: one value of a spec replaced from the command line."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.problems import Path, Problem, found, show_path
from orchestrator.spec.reading import read

_NAMED = ("data", "model", "methods")  # sections whose entries may be written as a name alone


def parse(override: str) -> tuple[Path, Any, list[str]]:
    """ "methods.1.ratio=[erk, smart]" as its path, its value read as YAML, and what is wrong with it."""
    key, equals, text = override.partition("=")
    path = tuple(int(part) if part.isascii() and part.isdecimal() else part for part in key.strip().split("."))
    if not equals or not all(str(part) for part in path):
        return path, None, ["expected KEY=VALUE, e.g. recipe.epochs=3"]
    value = read(text)
    return path, value.value, [problem.message for problem in value.problems]


def put(raw: dict[str, Any], path: Path, value: Any) -> Problem | None:
    """Write `value` at `path` into `raw`, making sections on the way where none stands yet."""
    holder: Any = raw
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(holder, list):
            if not (isinstance(key, int) and key < len(holder)):
                there = f"entries 0 to {len(holder) - 1}" if holder else "no entry"
                return Problem(path, f"{show_path(path[:depth])} has {there}, but no {key!r}")
        elif not isinstance(holder, dict):
            return Problem(path, f"{show_path(path[:depth])} holds no keys: {found(holder)}")
        elif isinstance(key, int):
            return Problem(path, f"{show_path(path[:depth]) or 'a spec'} is no list: {key} is no key of it")
        if last:
            holder[key] = value
            return None
        inner = holder.get(key, {}) if isinstance(holder, dict) else holder[key]
        if isinstance(inner, str) and path[0] in _NAMED:
            inner = {"name": inner}
        holder[key] = inner
        holder = inner
    return None
