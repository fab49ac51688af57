"""The weights of a convolution or linear map for the channels that stay, and what those that go add to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from orchestrator.engine.compact.analysis import Analysis, wide
from orchestrator.engine.compact.flat import argument, operation
from orchestrator.engine.compact.selection import Selection

EVEN = 1e-10
"""What differs by less than this share of the largest value is the same: float64 sums in another order."""


@dataclass(frozen=True)
class Folded:
    """The tensors of a smaller convolution or linear map, in the network's precision."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    added: torch.Tensor | None
    """To be added to its outcome for each image, (1, O, H, W), in which case there is no bias."""
    groups: int


def folded(
    analysis: Analysis, selection: Selection, node: fx.Node, weight: torch.Tensor, bias: torch.Tensor | None
) -> Folded:
    """A convolution or linear map of `weight` and `bias` without the channels that go. What these add is computed in
    float64 from their values, at the border too: they are convolved with their weights as in the network."""
    groups = argument(node, "groups") if operation(node) == "conv2d" else 1
    if node not in analysis.rules:
        return Folded(weight, bias, None, groups)
    given, outputs = argument(node, "input"), selection.of(node)
    x, weight = analysis.states[given], weight[outputs]
    bias = None if bias is None else bias[outputs]
    if x.dim is None:
        return Folded(weight, bias, None, groups)
    inputs = selection.of(given)
    if groups > 1:
        return Folded(weight, bias, None, int(inputs.sum()) * groups // len(inputs))
    gone = ~inputs & x.known & ~x.is_zero() & (weight != 0).transpose(0, 1).flatten(1).any(1)
    smaller = weight[:, inputs]
    if not gone.any():
        return Folded(smaller, bias, None, 1)
    dim = 1 if weight.dim() > 2 else -1
    added = _added(node, x.value, x.dim, wide(weight), gone)
    places = added.movedim(dim, 0).flatten(1)
    if bias is not None:
        added = (added.movedim(dim, -1) + wide(bias)).movedim(-1, dim)
    if bool((places.amax(1) - places.amin(1) <= EVEN * places.abs().amax(1)).all()):
        return Folded(smaller, added.movedim(dim, 0).flatten(1)[:, 0].to(weight.dtype), None, 1)
    return Folded(smaller, None, added.to(weight.dtype), 1)


def _added(node: fx.Node, value: torch.Tensor, dim: int, weight: torch.Tensor, gone: torch.Tensor) -> torch.Tensor:
    """What the input channels that go add to each output, at each place."""
    index = gone.nonzero().flatten()
    given, weight = value.index_select(dim, index), weight.index_select(1, index)
    if weight.dim() == 2:
        return torch.nn.functional.linear(given, weight)
    options = {name: argument(node, name) for name in ("stride", "padding", "dilation")}
    return torch.nn.functional.conv2d(given, weight, **options)
