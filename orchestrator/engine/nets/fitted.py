"""A network in the shape of given weights."""

from __future__ import annotations

import copy

from torch import nn

from methods.bench import Tensors


def fitted(net: nn.Module, weights: Tensors) -> nn.Module:
    """A copy of the network with every convolution, batch norm and linear map in the shape that its weights have; a
    module of which no weight is given is replaced by the identity. The values are not loaded."""
    net = copy.deepcopy(net)
    _fit(net, "", weights)
    return net


def _fit(module: nn.Module, prefix: str, weights: Tensors) -> None:
    for name, child in module.named_children():
        inner = f"{prefix}{name}."
        if child.state_dict() and not any(key.startswith(inner) for key in weights):
            setattr(module, name, nn.Identity())
        else:
            _fit(child, inner, weights)
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, value in own:
        given = weights.get(prefix + name)
        if given is not None and given.shape != value.shape:
            value.data = value.new_empty(given.shape)
    weight = weights.get(f"{prefix}weight")
    if isinstance(module, nn.Conv2d) and weight is not None:
        if module.groups > 1 and module.groups == module.in_channels:  # depthwise
            module.groups = len(weight)
        module.out_channels, module.in_channels = len(weight), weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear) and weight is not None:
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.BatchNorm2d) and weight is not None:
        module.num_features = len(weight)


def structure_of(weights: Tensors) -> dict[str, list[int]]:
    """The shapes of a state dict: two networks of one structure have the same."""
    return {name: list(value.shape) for name, value in weights.items()}
