"""Partially-trained tickets: what is left of the trained network is trained on, not rewound."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from methods import magnitude
from methods.bench import Stage, Ticket, Workbench
from methods.step import Step

PAPER = "Renda et al., Comparing Rewinding and Fine-tuning in Neural Network Pruning, ICLR 2020"


def rewound(bench: Workbench, trained: Stage, to: Step) -> Stage:
    """Trained weights at an earlier step of the learning rate's schedule. Raises ValueError where that is its end."""
    step = bench.iterations(to)
    if step >= bench.iterations(Step(Decimal(bench.recipe["epochs"]), "ep")):
        raise ValueError(
            f"rewind_to: {to} is not before the schedule's end, where a ticket has nothing left to train; rewind to an "
            "earlier step"
        )
    return trained.at(step)


class LrRewinding(magnitude.MagnitudePruning):
    """Train, remove the smallest weights, train the rest on with the learning rate rewound."""

    name = "lr_rewinding"
    ticket = "partially-trained"
    summary = "magnitude pruning; the trained weights train on, the learning rate rewound"
    prunes = "iteratively"
    cost = "a training of the dense network, and one from the rewinding step for each level"
    paper = PAPER

    class Options(magnitude.IterativeOptions):
        rewind_to: Step = Step(Decimal(0), "ep")
        """Step of the schedule that the learning rate goes back to: 0 is the whole schedule again (the code of Su et
        al., NeurIPS 2020), 40ep of 160 is where their paper goes back to."""

    def retrained(self, bench: Workbench, trained: Stage, masks: Stage) -> Ticket:
        """The trained weights, earlier in the schedule."""
        return Ticket(rewound(bench, trained, self.options.rewind_to), masks)


class FineTune(magnitude.MagnitudePruning):
    """Train, remove the smallest weights, train the rest on at a low constant learning rate."""

    name = "fine_tune"
    ticket = "partially-trained"
    summary = "magnitude pruning; the trained weights train on at a low learning rate"
    prunes = "iteratively"
    cost = "a training of the dense network, and `epochs` more for each level"
    paper = "Han et al., Learning both Weights and Connections for Efficient Neural Networks, NeurIPS 2015"

    class Options(magnitude.IterativeOptions):
        epochs: int | None = Field(None, ge=1)
        """Length of the fine-tuning of each level; none: that of the recipe."""
        lr: float | None = Field(None, gt=0)
        """Its learning rate; none: a hundredth of the recipe's, which the field's recipe of two drops by 0.1 ends
        with."""

    def retrained(self, bench: Workbench, trained: Stage, masks: Stage) -> Ticket:
        """The trained weights, under a recipe of their own."""
        tuning = bench.on(
            recipe={
                "epochs": self.options.epochs or bench.recipe["epochs"],
                "lr": self.options.lr or bench.recipe["lr"] / 100,
                "schedule": {"name": "constant"},
            }
        )
        return Ticket(trained.at(0), masks, trained=tuning.train(trained.at(0), masks))
