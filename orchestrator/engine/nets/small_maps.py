"""Convolutions of many channels on small maps as matrix products, one for each place of the 3x3 kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

Place = tuple[int, int]
Region = tuple[slice, slice, slice]

CENTRE = (1, 1)
"""The place of a 3x3 kernel that no padding meets."""


class SmallMapConv2d(nn.Conv2d):
    """A 3x3 convolution with stride 1 and zeros around the map, computed by `convolve`; what `computes` allows."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        kind = input.device.type
        if torch.is_autocast_enabled(kind):  # as autocast does for a convolution
            input = input.to(torch.get_autocast_dtype(kind))
        return convolve(input, weight, bias)


def computes(module: nn.Conv2d) -> bool:
    """Whether a convolution is of the kind that `convolve` computes."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.stride == module.dilation == (1, 1)
        and module.padding in ((1, 1), "same")
        and module.padding_mode == "zeros"
        and module.groups == 1
    )


def convolve(images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """torch.nn.functional.conv2d(images, weight, bias, padding=1) of images (N, I, H, W) with a weight (O, I, 3, 3), on
    (N, O, H, W) in channels_last, computed and given in the dtype of the images.

    Each place of the kernel adds a matrix product of the pixels that it meets (N H' W', I) with its (I, O), so that the
    zeros around a map, a third of what a 4x4 map's kernel meets and more than half of a 2x2 map's, cost nothing. Sums
    over places are float32 at least. Fastest where both arguments are channels_last."""
    return _Convolution.apply(images, weight, bias)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        own = weight.to(images.dtype)
        ctx.save_for_backward(images, own)
        ctx.weight, ctx.bias = weight.dtype, None if bias is None else bias.dtype
        pixels, kernel = images.permute(0, 2, 3, 1), own.permute(2, 3, 0, 1)
        inputs, outputs = pixels.shape[3], kernel.shape[2]
        out = pixels.new_zeros(*pixels.shape[:3], outputs, dtype=_sums_in(images))
        for place, to, of in _places(*pixels.shape[1:3]):
            met = pixels[of]
            product = met.reshape(-1, inputs) @ kernel[place].T
            out[to].add_(product.view(*met.shape[:3], outputs))
        if bias is not None:
            out.add_(bias)
        return out.to(images.dtype).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        pixels, kernel = images.permute(0, 2, 3, 1), weight.permute(2, 3, 0, 1)
        gradient = gradients[0].permute(0, 2, 3, 1)
        inputs, outputs = pixels.shape[3], kernel.shape[2]
        wanted = ctx.needs_input_grad
        of_images = torch.zeros_like(pixels, dtype=_sums_in(images)) if wanted[0] else None
        of_weight = weight.new_empty(outputs, 3, 3, inputs, dtype=ctx.weight) if wanted[1] else None
        for (row, column), to, of in _places(*pixels.shape[1:3]):
            met, told = pixels[of], gradient[to].reshape(-1, outputs)
            if of_images is not None:
                of_images[of].add_((told @ kernel[row, column]).view(met.shape))
            if of_weight is not None:
                of_weight[:, row, column] = told.T @ met.reshape(-1, inputs)
        return (
            None if of_images is None else of_images.to(images.dtype).permute(0, 3, 1, 2),
            None if of_weight is None else of_weight.permute(0, 3, 1, 2),
            None if ctx.bias is None else gradient.sum((0, 1, 2), dtype=ctx.bias),
        )


def _places(height: int, width: int) -> Iterator[tuple[Place, Region, Region]]:
    """The places of the kernel, each with the outputs (N, H, W) that it adds to and the pixels that it meets."""
    for row in range(3):
        for column in range(3):
            down, up = _overlap(height, row - CENTRE[0])
            right, left = _overlap(width, column - CENTRE[1])
            yield (row, column), (slice(None), down, right), (slice(None), up, left)


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    first, last = max(0, -shift), max(0, -shift, size - max(0, shift))
    return slice(first, last), slice(first + shift, last + shift)


def _sums_in(tensor: torch.Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
