"""Copies of a network that hold other values, and values that come back from a file. Unlike `net.to(...)`, copies keep
shared weights shared."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn


def load_values(net: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Load a state dict that has been through a file: modules that look at the version of what they load (torchvision's
    MNASNet) are told that it is their own. Raises RuntimeError where names or shapes differ."""
    state: Any = OrderedDict(values)
    state._metadata = getattr(net.state_dict(), "_metadata", None)
    net.load_state_dict(state)


def without_values(net: nn.Module) -> nn.Module:
    """A copy on the meta device: shapes alone."""
    return _copied(net, lambda tensor: tensor.to("meta"))


def with_zeros(net: nn.Module) -> nn.Module:
    """A copy on the CPU, all zeros, to try a forward pass of a network that may be on the meta device. A pass
    on the meta device itself would load torch's compiler, which takes seconds."""
    return _copied(net, lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype))


def _copied(net: nn.Module, replace: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    replaced: dict[int, Any] = {id(buffer): replace(buffer) for buffer in net.buffers()}
    for parameter in net.parameters():
        replaced[id(parameter)] = nn.Parameter(replace(parameter.detach()), parameter.requires_grad)
    return copy.deepcopy(net, replaced)  # takes what it finds in `replaced` for copied already
