"""Random tickets: a layer-wise ratio, and positions drawn at random."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import torch
from pydantic import Field

from methods import method
from methods.bench import Tensors, Ticket, Workbench
from methods.ratios import layer_counts


class Random(method.Method):
    """Keep a given number of weights in each layer, at positions drawn uniformly at random."""

    name = "random"
    ticket = "random"
    summary = "random positions under a layer-wise ratio"
    paper = "Su et al., Sanity-Checking Pruning Methods: Random Tickets can Win the Jackpot, NeurIPS 2020"
    uses_data = False

    class Options(method.Options):
        ratio: Literal["uniform", "balanced", "erk", "smart", "ascend", "linear_decay", "cubic"] = "smart"
        """Layer-wise ratio."""
        classifier_keep: Decimal | None = Field(None, gt=0, le=1)
        """Fixed keep ratio of the last linear layer (default: 0.3 for smart, ascend, linear_decay and cubic, as
        in the paper; free for the others)."""
        variant: Literal["exact", "reference"] = "exact"
        """`exact` meets the budget to the weight; `reference` rounds every layer down as the authors' code does."""

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under random masks: no training, no data."""
        counts = layer_counts(
            self.options.ratio,
            bench.layers,
            bench.sparsity,
            residual=bench.residual,
            classifier_keep=self.options.classifier_keep,
            reference=self.options.variant == "reference",
        )
        return Ticket(bench.initialise(), bench.compute(random_masks, keep=counts))


def random_masks(bench: Workbench, keep: list[int]) -> Tensors:
    """Masks with exactly keep[l] weights in layer l, every choice of positions equally likely."""
    masks = {}
    for layer, count in zip(bench.layers, keep, strict=True):
        order = torch.randperm(layer.weights, generator=bench.generator("random positions", layer.name))
        mask = torch.zeros(layer.weights, dtype=torch.bool)
        mask[order[:count]] = True
        masks[layer.name] = mask.reshape(layer.shape)
    return masks
