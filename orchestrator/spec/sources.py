"""Where a spec comes from: a file, one of the ready ones, or Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from importlib import resources
from os import PathLike, fspath
from pathlib import Path as FilePath
from typing import Any

from methods.step import Step
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import Path, Problem, found, nearest
from orchestrator.spec.reading import MAX_BYTES, Text, control_character, read


def ready() -> list[str]:
    """Names of the specs that come with the package."""
    names = (entry.name for entry in resources.files("search_spaces").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def read_source(source: str | PathLike | Mapping[str, Any] | Spec) -> tuple[str, Text]:
    """How errors should name the source, and what it says; the value is a dict unless nothing could be read.
    Raises TypeError for what is no source at all."""
    if isinstance(source, (Spec, Mapping)):
        text = Text()
        text.value = plain(source, (), text.problems)
        return "spec", text
    if not isinstance(source, (str, PathLike)):
        raise TypeError(f"a spec is a path, a name, a dict or a Spec, not {type(source).__name__}")
    origin, content = _content(str(fspath(source)))
    text = read(content) if isinstance(content, str) else Text(problems=[content])
    if not isinstance(text.value, dict):
        if not text.problems:
            empty = text.value is None
            words = "the file is empty" if empty else f"expected keys and values, {found(text.value)}"
            text.problems.append(Problem((), f"{words}; `jackpot new` writes a spec to start from"))
        text.value = None
    return origin, text


def plain(value: Any, path: Path, problems: list[Problem]) -> Any:
    """A value from Python as YAML would have given it; what YAML could not hold is left out and reported."""
    if isinstance(value, Spec):
        return plain(value.model_dump(mode="python"), path, problems)
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        problems += [Problem(path, f"a key is text, and {key!r} is none") for key in wrong]
        return {key: plain(each, (*path, key), problems) for key, each in value.items() if key not in wrong}
    if isinstance(value, (list, tuple)):
        return [plain(each, (*path, i), problems) for i, each in enumerate(value)]
    if isinstance(value, (Decimal, Step, PathLike)):
        value = float(value) if isinstance(value, Decimal) else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(path, f"expected a finite number, found {value}"))
    elif isinstance(value, str) and (control := control_character(value)):
        problems.append(Problem(path, f"the character {control!a} is not allowed"))
    elif value is not None and type(value) not in (bool, int, float, str):
        message = f"expected a number, text, true, false, a list or a mapping, found {value!r}"
        problems.append(Problem(path, message))
    else:
        return value
    return None


def _content(name: str) -> tuple[str, str | Problem]:
    """How to name the source, and its text or why there is none."""
    path, known = FilePath(name), ready()
    try:
        if name in known and not path.is_file():
            entry = resources.files("search_spaces") / f"{name}.yaml"
            return f"search_spaces/{name}.yaml", entry.read_text("utf-8")
        if path.is_dir():
            return name, Problem((), "is a folder; a spec is a YAML file")
        with open(path, "rb") as file:
            return name, file.read(4 * MAX_BYTES + 1).decode("utf-8-sig")
    except FileNotFoundError:
        near = nearest(path.stem, known)
        return name, Problem((), f"no such file, nor a ready spec of that name{near} ready: {', '.join(known)}")
    except UnicodeDecodeError as error:
        return name, Problem((), f"is no UTF-8 text (byte {error.start}); a spec is a YAML file")
    except (OSError, ValueError) as error:
        return name, Problem((), f"cannot be read: {getattr(error, 'strerror', None) or error}")
