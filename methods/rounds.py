"""Scoring in rounds: score, remove a part, score what is left, until the budget is met."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from methods import budget
from methods.bench import Tensors, Workbench
from methods.masks import keep_largest, refuse_zeros

Score = Callable[[nn.Module, dict[str, nn.Parameter], int], Tensors]
"""From the network under its masks, the scored weights by layer name and the round (from 0): scores of 0 and more by
layer name."""


def kept_in_rounds(bench: Workbench, net: nn.Module, keep: int, rounds: int, score: Score) -> Tensors:
    """Masks of exactly `keep` weights: after round k of n the fraction (keep / N)^(k / n) is left, as of the
    exponential schedule of Tanaka et al. (2020) and de Jorge et al. (2021). Removed weights are zero in `net` in the
    rounds that follow, and never come back. Ties as in `keep_largest`. Raises ValueError where the whole network
    scores nothing but zeros; later rounds may, of a network that has collapsed."""
    parameters = dict(net.named_parameters())
    scored = {layer.name: parameters[layer.parameter] for layer in bench.layers}
    total = budget.total(bench.layers)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in scored.items()}
    for number in range(rounds):
        if number:
            with torch.no_grad():
                for name, weight in scored.items():
                    weight.mul_(masks[name])
        left = keep if number == rounds - 1 else max(keep, round(total * (keep / total) ** ((number + 1) / rounds)))
        scores = score(net, scored, number)
        if number == 0:
            refuse_zeros(scores)
        # -1 ranks what is gone below every weight that is left
        masks = keep_largest({name: torch.where(masks[name], own, -1.0) for name, own in scores.items()}, left)
    return masks
