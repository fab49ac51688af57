"""Networks by name: the built-in ones, torchvision's and a user's `module:factory`, with their options checked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from orchestrator.engine.nets import vision
from orchestrator.engine.nets.convnet import conv3, convnet
from orchestrator.engine.nets.copies import without_values
from orchestrator.engine.nets.errors import ModelError
from orchestrator.engine.nets.lenet import lenet5, lenet_300_100
from orchestrator.engine.nets.mobilenet import mobilenet_v2_cifar
from orchestrator.engine.nets.options import given, option_problems, parameters_of
from orchestrator.engine.nets.resnet import (
    resnet8,
    resnet18_cifar,
    resnet20,
    resnet32,
    resnet50_cifar,
    resnet56,
    resnet110,
)
from orchestrator.engine.nets.user import call_factory, find_factory
from orchestrator.engine.nets.vgg import vgg11, vgg16, vgg19
from orchestrator.engine.nets.weights import is_file
from orchestrator.engine.seeds import globals_seeded
from orchestrator.engine.source import source_hash
from orchestrator.spec.models import Model
from orchestrator.spec.problems import nearest

_BUILT_IN = (
    *(lenet_300_100, lenet5, convnet, conv3),
    *(resnet8, resnet20, resnet32, resnet56, resnet110, resnet18_cifar, resnet50_cifar),
    *(mobilenet_v2_cifar, vgg11, vgg16, vgg19),
)
BUILDERS: dict[str, Callable[..., nn.Module]] = {builder.__name__: builder for builder in _BUILT_IN}


def known() -> list[str]:
    """Names of the built-in networks."""
    return list(BUILDERS)


def build(model: Model, classes: int, shape: tuple[int, int, int], seed: int) -> nn.Module:
    """The network with its initial weights, drawn from the global generators seeded for this trial (they are left
    as they were). `shape`: channels, height, width of the images. Raises ModelError."""
    with globals_seeded(seed, "initialise"):
        if own := _torchvisions(model.name):
            return vision.make(own, classes, shape, model.options, _pretrained(model))
        return _call(model, classes, shape)


def skeleton(model: Model, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The network on the meta device: shapes without values, for planning. Raises ModelError."""
    if model.name in BUILDERS:
        with torch.device("meta"):
            return _call(model, classes, shape)
    if own := _torchvisions(model.name):
        return vision.skeleton(own, classes, shape, model.options, _pretrained(model))
    return without_values(build(model, classes, shape, seed=0))


def canonical(name: str) -> str:
    """One name for each network: torchvision's with their prefix, all others as they are. Raises ModelError."""
    own = _torchvisions(name)
    return f"{vision.PREFIX}{own}" if own else name


def source_of(model: Model) -> str | None:
    """What a network's source is known by, so that an edit makes new stages: torchvision's version, the hash of the
    source of a user's network; None for a built-in one, which the engine's version covers. Raises ModelError."""
    if model.name in BUILDERS:
        return None
    if _torchvisions(model.name):
        return vision.version()
    find_factory(model.name)
    try:
        return source_hash(model.name.partition(":")[0])
    except ImportError as error:
        raise ModelError((("name",), f"{model.name!r}: {error}; a network's source must be a .py file")) from error


def _torchvisions(name: str) -> str | None:
    """torchvision's own name of a network, None for a built-in one or a user's. Raises ModelError where the name is
    nobody's."""
    if name in BUILDERS or (":" in name and not name.startswith(vision.PREFIX)):
        return None
    if own := vision.find(name):
        return own
    raise ModelError(
        (
            ("name",),
            f"unknown model {name!r}{nearest(name, [*known(), *vision.names()])} known: {', '.join(known())}, any "
            "classification network of torchvision (resnet18, vit_b_16, ...), or module:factory",
        )
    )


def _pretrained(model: Model) -> bool:
    return model.weights is not None and not is_file(model.weights)


def _call(model: Model, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    built_in = BUILDERS.get(model.name)
    builder = built_in or find_factory(model.name)
    parameters = parameters_of(builder)
    if problems := option_problems(parameters, model.options):
        raise ModelError(*problems)
    data = given(classes, shape)
    arguments = {key: value for key, value in data.items() if key in parameters or key == "num_classes"}
    if not built_in:
        return call_factory(model.name, builder, arguments | model.options)
    try:
        return built_in(**arguments, **model.options)
    except ValueError as error:  # an option's value out of bounds, as `name: what`
        option, _, message = str(error).partition(": ")
        raise ModelError(((option,), message)) from error
