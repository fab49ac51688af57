"""Copies of a network that hold other values. Unlike `net.to(...)`, weights that are shared stay shared."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


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
