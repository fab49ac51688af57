"""RigL: a sparse network that now and then exchanges its smallest weights for those with the largest gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from pydantic import Field

from methods.bench import Ticket, Workbench
from methods.gradual import interval, until
from methods.method import Method
from methods.rewiring import came_back, cosine, regrown, survivors
from methods.static_sparse import SparseOptions
from methods.step import Step
from methods.updater import Change, Moment, Updater


class Rigl(Method):
    """Start from a random sparse network; at every update remove the smallest |w| of each layer and grow as many back
    where the loss's gradient is largest."""

    name = "rigl"
    ticket = "during-training"
    summary = "sparse training; exchanges the smallest weights for those with the largest gradients"
    prunes = "during training"
    paper = "Evci et al., Rigging the Lottery: Making All Tickets Winners, ICML 2020"
    uses_data = True
    cost = "one training, and the gradients of all weights at its updates"

    class Options(SparseOptions):
        every: Step = Step(Decimal(100), "it")
        """From one update to the next."""
        end: Step | None = None
        """Where the last update lies before; none: three quarters of the training."""
        drop_fraction: float = Field(0.3, gt=0, le=1)
        """Fraction alpha of each layer's weights that the first updates exchange; it falls to 0 at `end` along a
        cosine."""
        reset_regrown: bool = False
        """A weight that an update gives up and grows back at once starts from zero, as the paper has new weights do;
        otherwise it keeps its value, as in the authors' code."""

    def find(self, bench: Workbench) -> Ticket:
        """One training, and the masks it ends with."""
        every, end = interval(bench, self.options.every), until(bench, self.options.end, Fraction(3, 4))
        if every >= end:
            raise ValueError(
                f"every: {self.options.every} leaves no update before iteration {end:,}, where updates end; lower "
                "`every` or end later"
            )
        updater = Exchanging(every, end, self.options.drop_fraction, self.options.reset_regrown)
        start, masks = bench.initialise(), self.options.initial_masks(bench, bench.sparsity)
        trained = bench.train(start, masks, updater=updater)
        return Ticket(start, bench.masks_of(trained), trained=trained)


@dataclass(frozen=True)
class Exchanging(Updater):
    """Updates at every `every`-th step before step `end` (algorithm 1 of the paper). The optimiser takes its step there
    too, where the authors' code leaves it out."""

    every: int
    end: int
    drop_fraction: float
    reset_regrown: bool = False

    def due(self, step: int) -> bool:
        """See Updater."""
        return step % self.every == 0 and step < self.end

    def change(self, moment: Moment) -> Change:
        """See Updater. floor(f n) of the n weights of a layer are exchanged. What was given up just now may grow again,
        as in the paper and the authors' code."""
        fraction = cosine(self.drop_fraction, 0.0, moment.step, self.end)
        left = survivors(moment.weights, moment.masks, fraction, math.floor)
        masks = regrown(moment.masks, left, {name: gradient.abs() for name, gradient in moment.gradients.items()})
        return Change(masks, came_back(moment.masks, left, masks) if self.reset_regrown else None)
