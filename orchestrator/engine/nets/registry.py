"""Networks by name: the built-in ones and a user's `module:factory`, with their options checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from orchestrator.engine.nets.convnet import convnet
from orchestrator.engine.nets.copies import without_values
from orchestrator.engine.nets.errors import ModelError, Problem
from orchestrator.engine.nets.resnet import resnet8, resnet20, resnet32, resnet56
from orchestrator.engine.nets.user import call_factory, find_factory
from orchestrator.engine.nets.vgg import vgg19
from orchestrator.engine.seeds import globals_seeded
from orchestrator.engine.source import source_hash
from orchestrator.spec.models import Model
from orchestrator.spec.problems import found, nearest

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    builder.__name__: builder for builder in (convnet, resnet8, resnet20, resnet32, resnet56, vgg19)
}

GIVEN = ("num_classes", "in_channels")
"""Arguments that the engine gives a factory; all others are options."""

_EXPECTED = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
}


def known() -> list[str]:
    """Names of the built-in networks."""
    return list(BUILDERS)


def build(model: Model, classes: int, shape: tuple[int, int, int], seed: int) -> nn.Module:
    """The network with its initial weights, drawn from the global generators seeded for this trial (they are left
    as they were). `shape`: channels, height, width of the images. Raises ModelError."""
    with globals_seeded(seed, "initialise"):
        return _call(model, classes, shape)


def skeleton(model: Model, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The network on the meta device: shapes without values, for planning. Raises ModelError."""
    if model.name in BUILDERS:
        with torch.device("meta"):
            return _call(model, classes, shape)
    return without_values(build(model, classes, shape, seed=0))


def source_of(model: Model) -> str | None:
    """Hash of the source of a user's network, so that an edit makes new stages; None for a built-in one,
    which the engine's version covers. Raises ModelError."""
    if model.name in BUILDERS:
        return None
    find_factory(model.name)
    try:
        return source_hash(model.name.partition(":")[0])
    except ImportError as error:
        raise ModelError((("name",), f"{model.name!r}: {error}; a network's source must be a .py file")) from error


def _call(model: Model, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    builder = _builder(model.name)
    if problems := option_problems(builder, model.options):
        raise ModelError(*problems)
    given = {"num_classes": classes, "in_channels": shape[0]}
    parameters = _parameters(builder)
    arguments = {"num_classes": classes} | {key: value for key, value in given.items() if key in parameters}
    if model.name not in BUILDERS:
        return call_factory(model.name, builder, arguments | model.options)
    try:
        return builder(**arguments, **model.options)
    except ValueError as error:  # an option's value out of bounds, as `name: what`
        option, _, message = str(error).partition(": ")
        raise ModelError(((option,), message)) from error


def _builder(name: str) -> Callable[..., Any]:
    if name in BUILDERS:
        return BUILDERS[name]
    if ":" in name:
        return find_factory(name)
    listed = ", ".join(known())
    raise ModelError((("name",), f"unknown model {name!r}{nearest(name, known())} known: {listed}, or module:factory"))


def option_problems(builder: Callable[..., Any], options: dict[str, Any]) -> list[Problem]:
    """What is wrong with options, as far as the builder's signature tells: names, types, missing ones."""
    parameters = _parameters(builder)
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


def _parameters(builder: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(builder).parameters)
    except (TypeError, ValueError):  # written in C: nothing can be known, anything may be given
        return {"anything": inspect.Parameter("anything", inspect.Parameter.VAR_KEYWORD)}


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
