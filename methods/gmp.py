"""Gradual magnitude pruning: the network is dense at first and loses its smallest weights while it trains."""

from __future__ import annotations

from dataclasses import dataclass

from methods.bench import Ticket, Workbench
from methods.gradual import GradualOptions, GradualPruning
from methods.method import Method
from methods.updater import Change, Moment, Updater


class Gmp(Method):
    """Train from dense; remove the smallest |w| step by step along a cubic schedule. What is removed stays removed."""

    name = "gmp"
    ticket = "during-training"
    summary = "gradual magnitude pruning along a cubic schedule, from dense"
    prunes = "during training"
    paper = "Zhu & Gupta, To prune, or not to prune, ICLR workshop 2018"
    uses_data = True
    cost = "one training"

    Options = GradualOptions

    def find(self, bench: Workbench) -> Ticket:
        """One training, and the masks it ends with."""
        updater = Gradual(self.options.pruning(bench))
        start = bench.initialise()
        trained = bench.train(start, bench.dense_masks(), updater=updater)
        return Ticket(start, bench.masks_of(trained), trained=trained)


@dataclass(frozen=True)
class Gradual(Updater):
    """Prunes where its schedule says."""

    pruning: GradualPruning

    def due(self, step: int) -> bool:
        """See Updater."""
        return self.pruning.schedule.due(step)

    def change(self, moment: Moment) -> Change:
        """See Updater."""
        return Change(self.pruning.masks(moment))
