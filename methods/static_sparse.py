"""Static sparse training: a random mask from the first step to the last, the baseline of all whose masks change."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from methods import method
from methods.bench import Stage, Ticket, Workbench
from methods.random import random_masks
from methods.ratios import layer_counts


class SparseOptions(method.Options):
    """Of every method that starts from a random sparse network."""

    ratio: Literal["uniform", "balanced", "erk", "smart", "ascend", "linear_decay", "cubic"] = "erk"
    """Layer-wise ratio of the network at the start."""
    classifier_keep: Decimal | None = Field(None, gt=0, le=1)
    """Fixed keep ratio of the last linear layer at the start (default: 0.3 for smart, ascend, linear_decay and cubic,
    free for the others)."""

    def initial_masks(self, bench: Workbench, sparsity: Decimal) -> Stage:
        """Masks of exactly the ratio's counts, at random positions; the references draw each position by itself, and
        meet these counts on average. Raises ValueError where the ratio does not go with the network."""
        counts = layer_counts(
            self.ratio,
            bench.layers,
            sparsity,
            residual=bench.residual,
            classifier_keep=self.classifier_keep,
        )
        return bench.compute(random_masks, keep=counts)


class StaticSparse(method.Method):
    """Train a random sparse network whose mask never changes."""

    name = "static_sparse"
    ticket = "random"
    summary = "a fixed random mask under a layer-wise ratio, Erdos-Renyi-kernel by default"
    paper = "Mocanu et al., Nature Communications 2018; Evci et al., Rigging the Lottery, ICML 2020 (the ratio)"
    uses_data = False
    cost = "one training"

    Options = SparseOptions

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under the random masks; the engine trains them."""
        return Ticket(bench.initialise(), self.options.initial_masks(bench, bench.sparsity))
