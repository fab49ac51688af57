"""A network where it computes: on its device, in the memory format that computes fastest there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from orchestrator.engine.nets.small_maps import SmallMapConv2d, computes

VECTOR = 8
"""Floats of an AVX2 register."""
SMALL_MAP = 16
"""Places (height x width) of a map, 4x4: up to here oneDNN's kernels for channels_last are slow where channels are
many."""
MANY_CHANNELS = 256
VERY_MANY_CHANNELS = 512


def placed(
    net: nn.Module, device: torch.device, shape: tuple[int, int, int], trains: bool = False, small_maps: bool = True
) -> nn.Module:
    """The network on a device, in channels_last. `shape`: that of an image (C, H, W). `trains`: whether it is to be
    trained, or to compute once. `small_maps`: whether convolutions on small maps are treated as below, which does not
    pay where an image is computed alone (VGG-19 then takes 1.07 times as long, ResNet-18 1.19), nor where a compiler
    lays tensors out (inductor's VGG-19 at batch 1 takes 1.5 times as long).

    On a CPU some convolutions compute in torch's own format:

    - strided 1x1 ones of fewer than 8 inputs: there the oneDNN of torch 2.15 (3.13.3) writes past the end of its
      buffers on processors without AVX-512, and the process dies;
    - those of many channels on small maps, which take 0.54 (512 channels, 2x2) to 0.82 (256, 4x4) of the time so,
      forward and backward, with AVX-512, and 0.67 to 1.07 with AVX2 (batch 64); on larger maps and with fewer
      channels channels_last is the faster.

    Of the latter, 3x3 ones of 512 channels are matrix products where they train (`SmallMapConv2d`): with AVX-512 and
    batches of 64 that takes 0.36 (2x2) to 0.79 (4x4) of the time in torch's own format, in bfloat16 0.14 to 0.36; at
    batch 1 a forward pass takes 1.2 to 2.2 times as long."""
    net = net.to(device).to(memory_format=torch.channels_last)
    if device.type == "cpu":
        for module in net.modules():
            if isinstance(module, nn.Conv2d) and is_small_and_strided(module.weight, module.stride):
                _compute_in_own_format(module)
        for module in _on_small_maps(net, shape) if small_maps else ():
            if trains and computes(module) and max(module.weight.shape[:2]) >= VERY_MANY_CHANNELS:
                module.__class__ = SmallMapConv2d
            else:
                _compute_in_own_format(module)
    return net


def is_small_and_strided(weight: torch.Tensor, stride: Sequence[int]) -> bool:
    """Whether a convolution of this weight (O, I, H, W) must compute in torch's own format on a CPU."""
    return weight.shape[2:] == (1, 1) and any(step != 1 for step in stride) and weight.shape[1] < VECTOR


def is_wide_on_a_small_map(weight: torch.Tensor, places: int) -> bool:
    """Whether a convolution of this weight (O, I, H, W) and with maps of so many places is faster in torch's own format
    on a CPU."""
    return weight.shape[2:] != (1, 1) and min(weight.shape[:2]) >= MANY_CHANNELS and places <= SMALL_MAP


def _on_small_maps(net: nn.Module, shape: tuple[int, int, int]) -> list[nn.Conv2d]:
    """The convolutions of many channels whose maps are small: found by one forward pass."""
    found: dict[nn.Conv2d, None] = {}

    def look(module: nn.Module, _: object, output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d) and is_wide_on_a_small_map(module.weight, output.shape[-2:].numel()):
            found[module] = None

    wide = [each for each in net.modules() if isinstance(each, nn.Conv2d) and is_wide_on_a_small_map(each.weight, 0)]
    hooks = [module.register_forward_hook(look) for module in wide]
    if wide:
        was_training = net.training
        with torch.no_grad():
            net.eval()(torch.zeros(1, *shape).to(memory_format=torch.channels_last))
        net.train(was_training)
    for hook in hooks:
        hook.remove()
    return list(found)


def _compute_in_own_format(module: nn.Conv2d) -> None:
    module.weight.data = _in_own_format(module.weight.data)
    module.register_forward_pre_hook(lambda _, inputs: tuple(map(_in_own_format, inputs)))


def _in_own_format(tensor: torch.Tensor) -> torch.Tensor:
    plain = torch.empty_like(tensor, device="meta", memory_format=torch.contiguous_format)
    # not `contiguous`, which does nothing where strides pass for both formats: of one channel, or of a 1x1 weight
    return tensor if tensor.stride() == plain.stride() else tensor.clone(memory_format=torch.contiguous_format)
