"""A network where it computes: on its device, in the memory format that computes fastest there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

VECTOR = 8
"""Floats of an AVX2 register."""


def placed(net: nn.Module, device: torch.device) -> nn.Module:
    """The network on a device, in channels_last.

    On a CPU, but for strided 1x1 convolutions of fewer than 8 inputs: there the oneDNN of torch 2.15 (3.13.3) writes
    past the end of its buffers on processors without AVX-512, and the process dies. They compute in torch's own
    format."""
    net = net.to(device).to(memory_format=torch.channels_last)
    for module in net.modules() if device.type == "cpu" else ():
        if isinstance(module, nn.Conv2d) and is_small_and_strided(module.weight, module.stride):
            module.weight.data = _in_own_format(module.weight.data)
            module.register_forward_pre_hook(lambda _, inputs: tuple(map(_in_own_format, inputs)))
    return net


def is_small_and_strided(weight: torch.Tensor, stride: Sequence[int]) -> bool:
    """Whether a convolution of this weight (O, I, H, W) must compute in torch's own format on a CPU."""
    return weight.shape[2:] == (1, 1) and any(step != 1 for step in stride) and weight.shape[1] < VECTOR


def _in_own_format(tensor: torch.Tensor) -> torch.Tensor:
    # not `contiguous`, which does nothing where strides pass for both formats: of one channel, or of a 1x1 weight
    return tensor.clone(memory_format=torch.contiguous_format)
