"""The course that filter and layer pruning share: train, score, remove the least important until the target is reached,
train what is left; in one round or several."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from methods import method
from methods.bench import Stage, Tensors, Ticket, Workbench
from methods.rewinding import rewound
from methods.step import Step
from methods.structure.criteria import Criterion

PAPER = "Elkerdawy et al., To Filter Prune, or to Layer Prune, That Is the Question, ACCV 2020"


class Options(method.Options):
    """Of filter and layer pruning alike."""

    criterion: Criterion = "weight_norm"
    """What says how much a filter matters; a layer matters as much as the mean of its filters."""
    target: Literal["sparsity", "macs", "latency"] = "sparsity"
    """What the sweep's sparsity is the fraction of that is removed, at least: prunable weights, multiply-accumulates,
    or the measured time of a batch."""
    latency_batch: int | None = Field(None, ge=1)
    """Images of the batch whose time is the target (default: the first of the spec's `latency.batches`)."""
    rounds: int = Field(1, ge=1)
    """Removals, each of an equal part of the target, with a training between."""
    batch: int = Field(64, ge=1)
    """Images of a scoring batch."""
    batches: int | None = Field(None, ge=1)
    """Scoring batches (default: all training images once)."""
    rewind_to: Step = Step(Decimal(0), "ep")
    """Step of the schedule from which what is left is trained; 0: the whole schedule again."""
    tune_epochs: int | None = Field(None, ge=1)
    """Fine-tune for so many epochs at a constant `tune_lr` instead."""
    tune_lr: float | None = Field(None, gt=0)
    """Learning rate of fine-tuning."""

    @model_validator(mode="after")
    def _tuning_is_whole(self) -> Options:
        if (self.tune_epochs is None) != (self.tune_lr is None):
            raise ValueError("tune_epochs and tune_lr go together; give both, or neither")
        return self


class StructuralPruning(method.Method):
    """Train, remove the least important units until the target is reached, train what is left."""

    Options = Options
    ticket = "partially-trained"
    uses_data = True
    cost = (
        "a training of the dense network; in each round a scoring pass over the training images, if the criterion "
        "looks at them, and a training; with `target: latency` a measurement for each halving of what can be "
        "removed"
    )
    prunes = "after training"
    meets_budget = False
    scores: ClassVar[Callable[..., Tensors]]
    """Compute: weights -> a score of each unit."""
    without: ClassVar[Callable[..., Tensors]]
    """Compute: weights, scores -> weights without the `count` least important units, or without as many as it takes to
    remove `fraction` of the `target`."""

    @abstractmethod
    def units(self, bench: Workbench) -> int:
        """How many units can be removed. Raises ValueError where the network has none, or its criterion has nothing to
        look at."""

    @abstractmethod
    def reachable(self, bench: Workbench, target: str) -> float | None:
        """The largest fraction of the weights or multiply-accumulates that can be removed; None if that is nearly
        all."""

    def ordering(self, bench: Workbench) -> dict[str, Any]:
        """Further options of `without`, as JSON values: what says which units go first beside the scores. Nothing that
        is not set, so that the stages of those who do not set it keep their keys."""
        return {}

    def find(self, bench: Workbench) -> Ticket:
        """Rounds of scoring and removing; the ticket is the smaller network, its weights trained on."""
        units, fraction = self.units(bench), bench.sparsity
        self._refuse(bench)
        weights = bench.train(bench.initialise())
        for number in range(1, self.options.rounds + 1):
            scores = bench.compute(
                type(self).scores,
                weights,
                criterion=self.options.criterion,
                batch=self.options.batch,
                batches=self.options.batches,
            )
            smaller = self._without(bench, weights, scores, fraction * number / self.options.rounds, units)
            ticket = self._retrained(bench, smaller, weights)
            if number < self.options.rounds:
                weights = ticket.trained or bench.train(ticket.weights)
        return ticket

    def _refuse(self, bench: Workbench) -> None:
        most = self.reachable(bench, self.options.target) if self.options.target != "latency" else None
        if most is not None and float(bench.sparsity) > most:
            what = {"sparsity": "weights", "macs": "multiply-accumulates"}[self.options.target]
            raise ValueError(
                f"{self.name} can remove {100 * most:.4g} % of the {what} of this network, and "
                f"{100 * float(bench.sparsity):.4g} % are asked for; lower the sparsity"
            )
        if self.options.target == "latency" and self._batch(bench) not in bench.latency_batches:
            raise ValueError(
                f"latency_batch: {self._batch(bench)} is none of the spec's latency.batches "
                f"({', '.join(map(str, bench.latency_batches))}); choose one of these"
            )

    def _batch(self, bench: Workbench) -> int:
        return self.options.latency_batch or bench.latency_batches[0]

    def _without(self, bench: Workbench, weights: Stage, scores: Stage, fraction: Decimal, units: int) -> Stage:
        without = partial(bench.compute, type(self).without, weights, scores, **self.ordering(bench))
        if self.options.target != "latency":
            return without(target=self.options.target, fraction=str(fraction))

        def smaller(count: int) -> Stage:
            return without(count=count)

        if not fraction:
            return smaller(0)
        name, wanted = f"speedup/b{self._batch(bench)}", 1 / (1 - float(fraction))
        fastest = bench.ask(bench.latency(smaller(units)), name, otherwise=math.inf)
        if fastest < wanted:
            raise ValueError(
                f"without all {units} {self.granularity}s that can go the network is {fastest:.3g} times as fast, and "
                f"{wanted:.3g} is asked for: lower the sparsity, or measure a larger `latency_batch`"
            )
        few, many = 0, units  # the least count that is fast enough, by halving
        while many - few > 1:
            middle = (few + many) // 2
            # planned as if time fell with each unit: of any two fractions the plan then counts both trainings
            faster = bench.ask(bench.latency(smaller(middle)), name, otherwise=units / (units - middle))
            few, many = (few, middle) if faster >= wanted else (middle, many)
        return smaller(many)

    def _retrained(self, bench: Workbench, smaller: Stage, trained: Stage) -> Ticket:
        options, masks = self.options, bench.dense_masks()
        if options.tune_epochs is None:
            return Ticket(rewound(bench, smaller.at(trained.step), options.rewind_to), masks)
        recipe = {
            "epochs": options.tune_epochs,
            "lr": options.tune_lr,
            "schedule": {"name": "constant"},
        }
        return Ticket(smaller.at(0), masks, trained=bench.on(recipe=recipe).train(smaller.at(0)))
