"""GraNet: gradual pruning, and after each step of it the network exchanges a part of what is left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from pydantic import Field

from methods.bench import Ticket, Workbench
from methods.gradual import GradualOptions, GradualPruning, schedule_length
from methods.method import Method
from methods.rewiring import came_back, cosine, regrown, survivors
from methods.static_sparse import SparseOptions
from methods.updater import Change, Moment, Updater

FINAL_FRACTION = 0.005
"""What an update exchanges at the end of training."""


class Granet(Method):
    """Remove the smallest |w| along a cubic schedule; at every update, also after the schedule's end, remove more in
    each layer and grow as many back where the loss's gradient is largest (neuroregeneration)."""

    name = "granet"
    ticket = "during-training"
    summary = "gradual pruning with zero-cost neuroregeneration, from dense or from sparse"
    prunes = "during training"
    paper = "Liu et al., Sparse Training via Boosting Pruning Plasticity with Neuroregeneration, NeurIPS 2021"
    uses_data = True
    cost = "one training, and the gradients of all weights at its updates"

    class Options(SparseOptions, GradualOptions):
        initial_sparsity: Decimal = Field(Decimal(0), ge=0, lt=1)
        """Sparsity that the training starts with: 0 is dense-to-sparse; 0.5 is the paper's sparse-to-sparse, under
        `ratio` with exact counts."""
        drop_fraction: float = Field(0.5, gt=0, le=1)
        """Fraction r of each layer's weights that the first updates exchange; it falls to 0.005 along a cosine over the
        whole training."""
        reset_regrown: bool = False
        """A weight that an update gives up and grows back at once starts from zero, as in the code of FreeTickets;
        otherwise it keeps its value, as in the authors' code. What the schedule prunes comes back as zero in both."""

    def find(self, bench: Workbench) -> Ticket:
        """One training, and the masks it ends with."""
        initial = self.options.initial_sparsity
        if initial > bench.sparsity:
            raise ValueError(
                f"initial_sparsity: {initial} is above the sparsity {bench.sparsity} that is to be reached; lower it"
            )
        updater = Regenerating(
            self.options.pruning(bench, initial),
            schedule_length(bench),
            self.options.drop_fraction,
            self.options.reset_regrown,
        )
        start = bench.initialise()
        masks = self.options.initial_masks(bench, initial) if initial else bench.dense_masks()
        trained = bench.train(start, masks, updater=updater)
        return Ticket(start, bench.masks_of(trained), trained=trained)


@dataclass(frozen=True)
class Regenerating(Updater):
    """Prunes where its schedule says, and regenerates at each of the schedule's intervals until the end of training
    (section 4 of the paper; algorithm 1)."""

    pruning: GradualPruning
    steps: int
    drop_fraction: float
    reset_regrown: bool = False

    def due(self, step: int) -> bool:
        """See Updater. Not after the very last step: what grows there would stay at zero."""
        return step % self.pruning.schedule.every == 0 and step < self.steps

    def change(self, moment: Moment) -> Change:
        """See Updater. ceil(r n) of the n weights of a layer are exchanged."""
        pruned = self.pruning.masks(moment) if self.pruning.schedule.due(moment.step) else moment.masks
        fraction = cosine(self.drop_fraction, FINAL_FRACTION, moment.step, self.steps)
        left = survivors(moment.weights, pruned, fraction, math.ceil)
        masks = regrown(pruned, left, {name: gradient.abs() for name, gradient in moment.gradients.items()})
        return Change(masks, came_back(moment.masks, left if self.reset_regrown else pruned, masks))
