"""Lottery tickets: magnitude pruning of the trained network, the weights that are left rewound."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from methods import magnitude
from methods.bench import Stage, Ticket, Workbench
from methods.step import Step

PAPER = "Frankle & Carbin, The Lottery Ticket Hypothesis, ICLR 2019; Frankle et al., ICML 2020 (rewinding)"


class OneShot(magnitude.MagnitudePruning):
    """Train, remove the smallest weights at once, rewind the rest."""

    name = "one_shot"
    ticket = "initial"
    summary = "magnitude pruning of the trained network in one level, with weight rewinding"
    prunes = "after training"
    cost = "two trainings: of the dense network, and of the ticket from the rewinding step"
    paper = PAPER

    class Options(magnitude.TrainedOptions):
        rewind_to: Step = Step(Decimal(0), "ep")
        """Step of the dense training whose weights the ticket starts from; above 0 it is a partially-trained
        ticket."""

    def begin(self, bench: Workbench) -> None:
        """The weights at the rewinding step lie on the way of the dense training."""
        rewound = self._rewound(bench)
        if rewound.step and rewound.step == bench.train(bench.initialise()).step:
            raise ValueError(
                f"rewind_to: {self.options.rewind_to} is the schedule's end, where a ticket has nothing left to train; "
                "rewind to an earlier step"
            )

    def retrained(self, bench: Workbench, trained: Stage, masks: Stage) -> Ticket:
        """From the rewound weights, under the rest of the schedule."""
        return Ticket(self._rewound(bench), masks)

    def _rewound(self, bench: Workbench) -> Stage:
        return bench.train(bench.initialise(), until=self.options.rewind_to)


class Lottery(OneShot):
    """Train, remove the smallest weights, rewind the rest, again and again until the sparsity is reached."""

    name = "lottery"
    summary = "iterative magnitude pruning with weight rewinding"
    prunes = "iteratively"
    cost = "a training of the dense network and one for each level, ln(1 - sparsity) / ln(1 - fraction) of them"

    class Options(OneShot.Options, magnitude.IterativeOptions):
        fraction: Decimal = Field(Decimal("0.2"), gt=0, lt=1)
        """Fraction of the remaining weights that each level removes."""
