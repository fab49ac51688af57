"""Hybrid tickets: how many weights of each layer is a formula's, which ones the trained network says."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from methods.bench import Ticket, Workbench
from methods.layer_ratio import SEARCHED, by_ratio
from methods.magnitude import largest
from methods.method import Method
from methods.random import RatioOptions
from methods.rewinding import rewound
from methods.step import Step


class Hybrid(Method):
    """Keep the largest of each layer's trained weights, as many as a layer-wise ratio says; then rewind the learning
    rate."""

    name = "hybrid"
    ticket = "hybrid"
    summary = "the largest trained weights under a layer-wise ratio, the learning rate rewound"
    prunes = "after training"
    paper = "Su et al., Sanity-Checking Pruning Methods: Random Tickets can Win the Jackpot, NeurIPS 2020"
    uses_data = True
    cost = "two trainings: of the dense network, and of the ticket from the rewinding step"
    formulas = by_ratio(*SEARCHED, "magnitude")

    class Options(RatioOptions):
        variant: Literal["exact", "reference"] = "exact"
        """`exact` meets the budget to the weight; `reference` rounds every layer down as the authors' code does."""
        rewind_to: Step = Step(Decimal(0), "ep")
        """Step of the schedule that the learning rate goes back to."""

    def find(self, bench: Workbench) -> Ticket:
        """The trained weights under their masks, earlier in the schedule."""
        keep = self.options.kept(
            bench.layers, bench.sparsity, bench.residual, reference=self.options.variant == "reference"
        )
        trained = bench.train(bench.initialise())
        masks = largest(bench, trained, bench.dense_masks(), self.options.ratio, keep)
        return Ticket(rewound(bench, trained, self.options.rewind_to), masks)
