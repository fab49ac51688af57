"""A network's options, checked against the signature of what builds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.engine.nets.errors import Problem
from orchestrator.spec.problems import found, nearest

GIVEN = ("num_classes", "in_channels", "input_size")
"""Arguments that the engine gives a factory which takes them; all others are options. `input_size` is the images'
(height, width)."""

_EXPECTED = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
}


def given(classes: int, shape: tuple[int, int, int]) -> dict[str, Any]:
    """The values of GIVEN for images of `shape` (C, H, W)."""
    return {"num_classes": classes, "in_channels": shape[0], "input_size": shape[1:]}


def parameters_of(builder: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a factory, by name."""
    try:
        return dict(inspect.signature(builder).parameters)
    except (TypeError, ValueError):  # written in C: nothing can be known, anything may be given
        return {"anything": inspect.Parameter("anything", inspect.Parameter.VAR_KEYWORD)}


def option_problems(parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with options, as far as a factory's parameters tell: names, types, missing ones."""
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    named = {
        key: each for key, each in parameters.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    allowed = [key for key in named if key not in GIVEN]
    problems: list[Problem] = []
    if "num_classes" not in named and not open_ended:
        problems.append((("name",), "the factory takes no `num_classes`; add that parameter to it"))
    for key, value in options.items():
        if key in GIVEN:
            problems.append(((key,), "the data set decides this; remove it"))
        elif key in named:
            problems += _type_problem(key, value, named[key])
        elif not open_ended:
            listed = ", ".join(allowed) or "none"
            problems.append(((key,), f"unknown option{nearest(key, allowed)} known options: {listed}"))
    for key in allowed:
        if named[key].default is inspect.Parameter.empty and key not in options:
            problems.append(((), f"option {key!r} is missing; this network needs it"))
    return problems


def _type_problem(key: str, value: Any, parameter: inspect.Parameter) -> list[Problem]:
    """Only bool, int, float and str, plain or `| None`, are checked; others are the factory's own."""
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    names = [name.strip() for name in text.split("|")]
    if not set(names) <= {*_ACCEPTED, "None"}:
        return []
    for name in names:
        if value is None and name == "None":
            return []
        if isinstance(value, _ACCEPTED.get(name, ())) and (name == "bool" or not isinstance(value, bool)):
            return []
    expected = " or ".join(_EXPECTED.get(name, "null") for name in names)
    return [((key,), f"expected {expected}, {found(value)}")]
