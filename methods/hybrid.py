"""Hybrid tickets: how many weights of each layer is a formula's, which ones the trained network says."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from methods import budget
from methods.bench import Ticket, Workbench
from methods.lamp import lamp_masks
from methods.magnitude import magnitude_masks
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

    class Options(RatioOptions):
        variant: Literal["exact", "reference"] = "exact"
        """`exact` meets the budget to the weight; `reference` rounds every layer down as the authors' code does."""
        rewind_to: Step = Step(Decimal(0), "ep")
        """Step of the schedule that the learning rate goes back to."""

    def find(self, bench: Workbench) -> Ticket:
        """The trained weights under their masks, earlier in the schedule."""
        if self.options.by_lamp:
            trained = bench.train(bench.initialise())
            keep = budget.kept(budget.total(bench.layers), bench.sparsity)
            masks = bench.compute(lamp_masks, trained, keep=keep)
        else:
            counts = self.options.counts(bench, reference=self.options.variant == "reference")
            trained = bench.train(bench.initialise())
            named = {layer.name: count for layer, count in zip(bench.layers, counts, strict=True)}
            masks = bench.compute(magnitude_masks, trained, bench.dense_masks(), keep=named, dense=[])
        return Ticket(rewound(bench, trained, self.options.rewind_to), masks)
