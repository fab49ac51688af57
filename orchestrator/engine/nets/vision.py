"""torchvision's classification networks by name. torchvision is imported where one is asked for: it takes seconds."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from orchestrator.engine.nets.copies import without_values
from orchestrator.engine.nets.errors import InputError, ModelError, Problem, said
from orchestrator.engine.nets.options import option_problems
from orchestrator.engine.seeds import globals_seeded
from orchestrator.spec.code import TORCHVISION as PREFIX
from orchestrator.spec.problems import nearest

RESIDUAL = {
    **dict.fromkeys(("alexnet", "googlenet", "inception", "squeezenet", "vgg"), False),
    **dict.fromkeys(("convnext", "efficientnet", "maxvit", "mnasnet", "mobilenetv2", "mobilenetv3", "regnet"), True),
    **dict.fromkeys(("resnet", "swin_transformer", "vision_transformer"), True),
    # what goes around a block unchanged is concatenated rather than added
    **dict.fromkeys(("densenet", "shufflenetv2"), True),
}
"""torchvision's module -> whether its networks have residual connections: whether a block's input also goes around
the block, unchanged, and is added to its output or concatenated with it. One not listed says nothing."""

FIXED = {
    "image_size": "the data set decides this; remove it",
    "input_size": "the data set decides this; remove it",
    "aux_logits": "always off: networks are trained on their logits alone; remove it",
    "init_weights": "always on; remove it",
}
"""Parameters that torchvision would take and that are no options here, and why."""

SOME = "it has alexnet, resnet18, vit_b_16, ..."

_SCALARS: dict[Any, str] = {bool: "bool", int: "int", float: "float", str: "str", type(None): "None"}


def names() -> list[str]:
    """torchvision's names of its classification networks."""
    from torchvision import models

    return list(models.list_models(module=models))


def find(name: str) -> str | None:
    """torchvision's own name of the network that `name` asks for, with or without PREFIX; None if it has none of
    that name. Raises ModelError for an unknown name that has the prefix."""
    own = name.removeprefix(PREFIX)
    if ":" in own or own not in names():
        if name.startswith(PREFIX):
            close = nearest(own, names())
            raise ModelError((("name",), f"torchvision has no classification network {own!r}{close} {SOME}"))
        return None
    return own


def version() -> str:
    """torchvision's version, which stands for its networks' source in every key."""
    return f"torchvision {importlib.metadata.version('torchvision')}"


def make(
    own: str, classes: int, shape: tuple[int, int, int], options: dict[str, Any], pretrained: bool = False
) -> nn.Module:
    """torchvision's network `own` for images of `shape` (C, H, W), giving logits alone. Weights are drawn from the
    global generators. Grey images: the first convolution gets one input channel, and as weights the sum over the
    three, so that the network computes what it would on the image repeated in all three. Transformers of a fixed
    image size are made for the size of the images. `pretrained`: for torchvision's weights, which the Inceptions
    take with another normalisation. Raises ModelError for wrong options, InputError for images it cannot take."""
    from torchvision import models

    builder = models.get_model_builder(own)
    takes = _parameters(builder)
    if problems := _option_problems(takes, options):
        raise ModelError(*problems)
    channels, height, width = shape
    if channels not in (1, 3):
        raise InputError(own, shape, "it takes colour images, of 3 channels, or grey ones, of 1")
    arguments: dict[str, Any] = {"num_classes": classes}
    if "image_size" in takes:
        if height != width:
            raise InputError(own, shape, "it takes square images")
        arguments["image_size"] = height
    if "input_size" in takes:
        arguments["input_size"] = (height, width)
    if "aux_logits" in takes:
        arguments |= {"aux_logits": False, "init_weights": True, "transform_input": pretrained}
    try:
        net = builder(**arguments | options)
    except Exception as error:
        if options:  # whose fault is it? raises InputError if it is the images'
            make(own, classes, shape, {}, pretrained)
            raise _refused(own, error, options) from error
        raise InputError(own, shape, said(error)) from error
    net.residual = RESIDUAL.get(builder.__module__.rpartition(".")[2])
    if channels == 1:
        _take_grey(net)
    return net


def skeleton(
    own: str, classes: int, shape: tuple[int, int, int], options: dict[str, Any], pretrained: bool = False
) -> nn.Module:
    """What `make` makes, on the meta device; the largest network takes a fraction of a second."""
    with globals_seeded(0, "initialise"), _parameters_on_meta():
        return without_values(make(own, classes, shape, options, pretrained))


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Modules made meanwhile have their parameters on the meta device, where initialising costs nothing. Other
    tensors stay real: some networks compute their widths with them (RegNet)."""

    def moved(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        if parameter.is_meta:  # also one that a second module shares
            return None
        return nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)

    hook = register_module_parameter_registration_hook(moved)  # type: ignore[arg-type]  # may return a parameter
    try:
        yield
    finally:
        hook.remove()


def _take_grey(net: nn.Module) -> None:
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight = nn.Parameter(first.weight.sum(1, keepdim=True))
    first.in_channels = 1


def _parameters(builder: Callable[..., nn.Module]) -> dict[str, inspect.Parameter]:
    """What can be given to a builder as scalars: the parameters of the class that it makes, for its own signature
    ends in **kwargs. All optional, because the builder has values for those without a default."""
    made: Any = typing.get_type_hints(builder)["return"]
    hints = typing.get_type_hints(made.__init__)
    found = {}
    for name, parameter in inspect.signature(made).parameters.items():
        union = typing.get_origin(hints[name]) in (typing.Union, types.UnionType)
        kinds = typing.get_args(hints[name]) if union else (hints[name],)
        if name in FIXED or all(kind in _SCALARS for kind in kinds):
            text = " | ".join(_SCALARS.get(kind, str(kind)) for kind in kinds)
            found[name] = parameter.replace(annotation=text, default=None, kind=parameter.KEYWORD_ONLY)
    return found


def _option_problems(takes: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = [((key,), FIXED[key]) for key in options if key in FIXED and key in takes]
    fixed = {key for (key,), _ in problems}
    free = {key: each for key, each in takes.items() if key not in FIXED}
    return problems + option_problems(free, {key: value for key, value in options.items() if key not in fixed})


def _refused(own: str, error: Exception, options: dict[str, Any]) -> ModelError:
    """What a builder's exception says of the options that it got."""
    named = [key for key in re.findall(r"'(\w+)'", str(error)) if key in options]
    if named:
        return ModelError(((named[0],), f"torchvision's {own} sets this itself ({said(error)}); remove it"))
    return ModelError((("name",), f"torchvision's {own} cannot be made with these options: {said(error)}"))
