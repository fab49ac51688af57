"""Gradual magnitude pruning: the cubic schedule of Zhu & Gupta, "To prune, or not to prune", 2017, as GraNet's authors
count its steps (Liu et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import torch
from pydantic import Field, model_validator

from methods import budget, method
from methods.bench import Tensors, Workbench
from methods.masks import keep_largest, keep_largest_per_layer
from methods.ratios import fill_up
from methods.step import Step
from methods.updater import Moment

UPDATES = 56
"""Updates of a whole schedule where `every` does not say: 1,000 iterations of the 56,320 of the authors' CIFAR-10."""


def schedule_length(bench: Workbench) -> int:
    """Optimiser steps of the whole schedule."""
    return bench.iterations(Step(Decimal(bench.recipe["epochs"]), "ep"))


def until(bench: Workbench, end: Step | None, share: Fraction) -> int:
    """Iterations until `end`, or until this share of the schedule. Raises ValueError where that is beyond its end."""
    steps = schedule_length(bench)
    last = int(steps * share) if end is None else bench.iterations(end)
    if last > steps:
        raise ValueError(
            f"end: {end} is {last:,} iterations, beyond the schedule's {steps:,} ({bench.recipe['epochs']} epochs); "
            "end earlier or train longer"
        )
    return last


def interval(bench: Workbench, every: Step) -> int:
    """Iterations of `every`. Raises ValueError where that is less than one."""
    found = bench.iterations(every)
    if not found:
        raise ValueError(f"every: {every} is less than one iteration; give at least 1it")
    return found


@dataclass(frozen=True)
class Cubic:
    """Sparsity s(k) = initial + (final - initial) (1 - (1 - (k - k0) / n)^3) after step k * every, for k0 <= k < kf,
    k0 = begin // every, kf = end // every and n = kf - k0 (Zhu & Gupta, eq. 1). Steps are iterations; sparsities are
    decimals as text, so that they are exact."""

    initial: str
    final: str
    every: int
    begin: int
    end: int
    exact: bool = True
    """The last pruning, k = kf - 1, removes all that is left to remove; otherwise it misses the final sparsity by
    (final - initial) / n^3, and what is kept is rounded down, as in the code of GraNet's authors."""

    def due(self, step: int) -> bool:
        """Whether there is a pruning after optimiser step `step` (1 is the first)."""
        if step < 1 or step % self.every:
            return False
        return self.begin // self.every <= step // self.every < self.end // self.every

    def sparsity(self, step: int) -> Decimal:
        """Sparsity after the pruning of this step."""
        first, end, initial, final = self.begin // self.every, self.end // self.every, *self._ends()
        k = step // self.every
        if self.exact and k == end - 1:
            return final
        return initial + (final - initial) * (1 - (1 - Decimal(k - first) / (end - first)) ** 3)

    def kept(self, weights: int, step: int) -> int:
        """How many of these weights are left then."""
        if self.exact:
            return budget.kept(weights, self.sparsity(step))
        return int((1 - self.sparsity(step)) * weights)

    def _ends(self) -> tuple[Decimal, Decimal]:
        return Decimal(self.initial), Decimal(self.final)


@dataclass(frozen=True)
class GradualPruning:
    """Removes the smallest weights step by step. `scope`: over all layers together (global) or of each layer the same
    fraction (uniform); there the layer `classifier` keeps at least the ratio `classifier_floor`."""

    schedule: Cubic
    scope: str = "global"
    classifier: str | None = None
    classifier_floor: str = "0"

    def masks(self, moment: Moment) -> Tensors:
        """The masks after a pruning that is due: exactly as many weights as the schedule says, none that was removed
        before. Of equal |w| the earlier is kept."""
        # -1 ranks what is removed already below every weight that is left, zeros included
        scores = {name: torch.where(mask, moment.weights[name].abs(), -1.0) for name, mask in moment.masks.items()}
        keep = self.schedule.kept(sum(mask.numel() for mask in moment.masks.values()), moment.step)
        if self.scope == "global":
            return keep_largest(scores, keep)
        return keep_largest_per_layer(scores, self.counts(moment.masks, keep))

    def counts(self, masks: Tensors, keep: int) -> dict[str, int]:
        """How many of `keep` weights each layer keeps under `scope: uniform`, at most what it has."""
        sizes = {name: mask.numel() for name, mask in masks.items()}
        caps = {name: int(mask.sum()) for name, mask in masks.items()}
        fixed: dict[int, Fraction] = {}
        if self.classifier is not None:
            least = Fraction(Decimal(self.classifier_floor)) * sizes[self.classifier]
            share = Fraction(sizes[self.classifier] * keep, sum(sizes.values()))
            fixed[list(sizes).index(self.classifier)] = min(max(least, share), Fraction(caps[self.classifier]))
        exact = fill_up([Fraction(size) for size in sizes.values()], list(caps.values()), keep, fixed)
        return dict(zip(sizes, budget.share(exact, list(caps.values()), keep), strict=True))


class GradualOptions(method.Options):
    """Of every method that prunes step by step while it trains."""

    scope: Literal["global", "uniform"] = "global"
    """Rank the weights of all layers together, or remove the same fraction in each."""
    every: Step | None = None
    """From one update to the next; none: a 56th of the schedule, which is the authors' 1,000 iterations of their 160
    epochs of CIFAR-10."""
    begin: Step = Step(Decimal(0), "ep")
    """Where the schedule of the sparsity begins."""
    end: Step | None = None
    """Where it ends: the last pruning is one `every` before. None: half of the training, where the authors' learning
    rate drops first."""
    classifier_floor: Decimal | None = Field(None, gt=0, le=1)
    """Under `scope: uniform` the last linear layer keeps at least this fraction, and the others absorb what it keeps
    more: 0.2 in the authors' code, free by default."""
    variant: Literal["exact", "reference"] = "exact"
    """`exact` lands on the sparsity to the weight; `reference` stops one step of the schedule short of it, as the
    authors' code does, and rounds down."""

    @model_validator(mode="after")
    def _classifier_of_its_own(self) -> GradualOptions:
        if self.classifier_floor is not None and self.scope == "global":
            raise ValueError("classifier_floor goes with `scope: uniform`; leave it out or change the scope")
        return self

    def pruning(self, bench: Workbench, initial: Decimal = Decimal(0)) -> GradualPruning:
        """The pruning from sparsity `initial` to the bench's. Raises ValueError where it never prunes, or does not go
        with the schedule's length or the network."""
        steps = schedule_length(bench)
        every = interval(bench, self.every) if self.every else max(1, steps // UPDATES)
        begin, end = bench.iterations(self.begin), until(bench, self.end, Fraction(1, 2))
        if begin >= end:
            raise ValueError(f"begin: {self.begin} is not before the end of the pruning at iteration {end:,}; lower it")
        schedule = Cubic(str(initial), str(bench.sparsity), every, begin, end, exact=self.variant == "exact")
        due = [step for step in range(every, end, every) if schedule.due(step)]
        if not due or schedule.sparsity(due[-1]) == initial < bench.sparsity:
            raise ValueError(
                f"every: {self.every or f'{every}it'} leaves no pruning from iteration {begin:,} to {end:,}, whose "
                "last is one `every` before the end; lower `every`, begin earlier or end later"
            )
        return GradualPruning(schedule, self.scope, *self._classifier(bench))

    def _classifier(self, bench: Workbench) -> tuple[str | None, str]:
        classifier = next((layer for layer in bench.layers if layer.classifier), None)
        if self.classifier_floor is None or classifier is None:
            return None, "0"
        keep = budget.kept(budget.total(bench.layers), bench.sparsity)
        if self.classifier_floor * classifier.weights > keep:
            raise ValueError(
                f"a classifier that keeps {self.classifier_floor} of its {classifier.weights} weights is over the "
                f"budget of {keep} weights at sparsity {bench.sparsity}; lower `classifier_floor`"
            )
        return classifier.name, str(self.classifier_floor)
