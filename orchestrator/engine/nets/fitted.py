"""A network in the shapes of given weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def fitted(net: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network with every layer in the shape of the given state dict. Raises ValueError where it has others."""
    if structure_of(net.state_dict()) != structure_of(weights):
        raise ValueError("the weights have other shapes than the network")
    return net


def structure_of(weights: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """The shapes of a state dict: two networks of one structure have the same."""
    return {name: list(value.shape) for name, value in weights.items()}
