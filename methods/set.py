"""SET: a sparse network that exchanges its weights closest to zero for others at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import torch
from pydantic import Field

from methods.bench import Tensors, Ticket, Workbench
from methods.gradual import interval, until
from methods.method import Method
from methods.rewiring import came_back, regrown, survivors
from methods.static_sparse import SparseOptions
from methods.step import Step
from methods.updater import Change, Moment, Updater


class Set(Method):
    """Start from a random sparse network; after every epoch remove the weights closest to zero of each layer and grow
    as many at random."""

    name = "set"
    ticket = "during-training"
    summary = "sparse evolutionary training; exchanges the weights closest to zero for random ones"
    prunes = "during training"
    paper = "Mocanu et al., Scalable Training of Artificial Neural Networks, Nature Communications 2018"
    uses_data = True
    cost = "one training"

    class Options(SparseOptions):
        every: Step = Step(Decimal(1), "ep")
        """From one update to the next."""
        end: Step | None = None
        """Where the last update lies before; none: the end of training."""
        drop_fraction: float = Field(0.3, gt=0, le=1)
        """Fraction zeta of each layer's weights that an update exchanges."""
        death: Literal["signed", "magnitude"] = "signed"
        """`signed` removes this fraction of the positive weights, the smallest, and of the negative ones, the largest,
        as the paper and its authors' code do; `magnitude` that of the smallest |w| whatever their sign, as SET is built
        in the code of RigL."""

    def find(self, bench: Workbench) -> Ticket:
        """One training, and the masks it ends with."""
        every, end = interval(bench, self.options.every), until(bench, self.options.end, Fraction(1))
        if every >= end:
            raise ValueError(
                f"every: {self.options.every} leaves no update before iteration {end:,}, where updates end; lower "
                "`every` or end later"
            )
        updater = Evolving(every, end, self.options.drop_fraction, self.options.death == "signed")
        start, masks = bench.initialise(), self.options.initial_masks(bench, bench.sparsity)
        trained = bench.train(start, masks, updater=updater)
        return Ticket(start, bench.masks_of(trained), trained=trained)


@dataclass(frozen=True)
class Evolving(Updater):
    """Updates at every `every`-th step before step `end`: what grows after the last step would stay at zero."""

    every: int
    end: int
    drop_fraction: float
    signed: bool = True

    def due(self, step: int) -> bool:
        """See Updater."""
        return step % self.every == 0 and step < self.end

    def change(self, moment: Moment) -> Change:
        """See Updater. All positions of which nothing is left are equally likely, and what grows starts from zero."""
        left = self._left(moment)
        scores = {
            # drawn on the CPU, and in float64, where no two are equal
            name: torch.rand(mask.shape, generator=moment.generator("growth", name), dtype=torch.float64)
            for name, mask in moment.masks.items()
        }
        masks = regrown(moment.masks, left, {name: score.to(left[name].device) for name, score in scores.items()})
        return Change(masks, came_back(moment.masks, left, masks))

    def _left(self, moment: Moment) -> Tensors:
        if not self.signed:
            return survivors(moment.weights, moment.masks, self.drop_fraction, math.floor)
        negative = {name: mask & (moment.weights[name] < 0) for name, mask in moment.masks.items()}
        positive = {name: mask & ~negative[name] for name, mask in moment.masks.items()}
        kept = [survivors(moment.weights, part, self.drop_fraction, math.floor) for part in (negative, positive)]
        # a layer that is full has nothing to exchange
        return {name: kept[0][name] | kept[1][name] | mask.all() for name, mask in moment.masks.items()}
