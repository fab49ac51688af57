"""What is wrong with a spec, and the words to say it in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec: where (`("methods", 2, "name")`; () is the spec as a whole), and what."""

    path: Path
    message: str


class SpecError(ValueError):
    """A spec that cannot be run; `lines` says all that is wrong, one line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


def show_path(path: Path) -> str:
    """("methods", 2, "name") as `methods[2].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def printable(text: str) -> str:
    """A line of text in which what would break the line, or steer the terminal, is written as Python writes it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word closest to `word`; empty where none is close."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ";"


def found(value: Any) -> str:
    """A value as its author knows it: "found the text 'abc'", "found nothing", "found a list"."""
    if value is None:
        return "found nothing"
    if isinstance(value, bool):
        return f"found {str(value).lower()}"
    if isinstance(value, str):
        return f"found the text {value if len(value) <= 60 else value[:57] + '...'!r}"
    if isinstance(value, dict):
        return "found a mapping"
    if isinstance(value, (list, tuple)):
        return "found a list" if value else "found an empty list"
    return f"found {value}"
