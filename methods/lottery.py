"""Lottery tickets by iterative magnitude pruning."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import torch
from pydantic import Field

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.layers import Layer
from methods.masks import keep_largest, keep_largest_per_layer
from methods.step import Step

MAX_LEVELS = 1000
"""More are taken for a slip in `fraction`: each level trains the network once."""


class Lottery(method.Method):
    """Train, remove the smallest weights, rewind the rest, again and again until the sparsity is reached."""

    name = "lottery"
    ticket = "initial"
    summary = "iterative magnitude pruning with rewinding"
    paper = "Frankle & Carbin, The Lottery Ticket Hypothesis, ICLR 2019; Frankle et al., ICML 2020 (rewinding)"
    uses_data = True

    class Options(method.Options):
        fraction: Decimal = Field(Decimal("0.2"), gt=0, lt=1)
        """Fraction of the remaining weights that each level removes."""
        rewind_to: Step = Step(Decimal(0), "ep")
        """Step of the dense training whose weights the ticket starts from."""
        scope: Literal["global", "layerwise"] = "global"
        """Rank the weights of all layers together, or remove the same fraction in each."""
        one_shot: bool = False
        """Remove everything in one level."""
        prune_classifier: bool = True
        """False leaves the last linear layer dense; the other layers absorb its share of the sparsity."""

    def find(self, bench: Workbench) -> Ticket:
        """Levels at density (1 - fraction)^t, shared by all targets; the last one lands on the target exactly."""
        self._refuse_endless(bench.sparsity)
        self._pruned(bench.layers, bench.sparsity)  # refuses the target itself, before a level on the way to it
        pruned = [*self._levels(bench.sparsity), bench.sparsity]
        theta_0 = bench.initialise()
        rewound = bench.train(theta_0, until=self.options.rewind_to)
        trained = bench.train(theta_0)
        if rewound.step and rewound.step == trained.step:
            raise ValueError(
                f"rewind_to: {self.options.rewind_to} is the schedule's end, where a ticket has nothing left to train; "
                "rewind to an earlier step"
            )
        masks = bench.dense_masks()
        keep: int | dict[str, int] = {layer.name: layer.weights for layer in bench.layers}
        for level, sparsity in enumerate(pruned, start=1):
            keep, dense = self._keep(bench.layers, sparsity, keep)
            masks = bench.compute(magnitude_masks, trained, masks, keep=keep, dense=dense)
            if level < len(pruned):
                trained = bench.train(rewound, masks)
        return Ticket(rewound, masks)

    def _refuse_endless(self, target: Decimal) -> None:
        if self.options.one_shot:
            return
        levels = float((1 - target).ln() / (1 - self.options.fraction).ln())
        if levels > MAX_LEVELS:
            raise ValueError(
                f"fraction: {self.options.fraction} takes {levels:,.0f} levels, each a training, to sparsity {target}; "
                f"at most {MAX_LEVELS:,} are allowed, so raise it"
            )

    def _levels(self, target: Decimal) -> Iterator[Decimal]:
        """Sparsities 1 - (1 - fraction)^t below the target."""
        density = 1 - self.options.fraction
        while not self.options.one_shot and density > 1 - target:
            yield 1 - density
            density *= 1 - self.options.fraction

    def _keep(
        self, layers: tuple[Layer, ...], sparsity: Decimal, before: int | dict[str, int]
    ) -> tuple[int | dict[str, int], list[str]]:
        """What a level keeps of the layers it prunes: a count over all of them, or one of each, given what the
        level `before` it kept; and the layers it leaves dense. The key of a level depends on this alone, so that
        targets share their levels."""
        pruned, dense, keep = self._pruned(layers, sparsity)
        names = [layer.name for layer in dense]
        if self.options.scope == "global" or isinstance(before, int):
            return keep, names
        weights = budget.total(pruned)
        exact = [Fraction(layer.weights * keep, weights) for layer in pruned]
        # at most what was left: by largest remainder alone a smaller total may give a layer a weight more
        counts = budget.share(exact, [before[layer.name] for layer in pruned], keep)
        return {layer.name: count for layer, count in zip(pruned, counts, strict=True)}, names

    def _pruned(self, layers: tuple[Layer, ...], sparsity: Decimal) -> tuple[list[Layer], list[Layer], int]:
        """The layers that are pruned, those left dense, whose weights count towards the sparsity all the same, and
        how many weights the pruned ones keep."""
        classifier = next((layer for layer in layers if layer.classifier), None)
        dense = [classifier] if classifier and not self.options.prune_classifier else []
        keep = budget.kept(budget.total(layers), sparsity) - budget.total(dense)
        if keep < 0:
            raise ValueError(
                f"sparsity {float(sparsity):.6g} keeps fewer weights than the {budget.total(dense)} of the "
                "classifier that `prune_classifier: false` leaves dense; lower the sparsity or prune the classifier"
            )
        return [layer for layer in layers if layer not in dense], dense, keep


def magnitude_masks(
    bench: Workbench, weights: Tensors, masks: Tensors, keep: int | dict[str, int], dense: list[str]
) -> Tensors:
    """Masks within `masks` of the largest |w|: `keep` weights over all layers together, or keep[name] in each;
    the layers of `dense` keep all. A removed weight never comes back."""
    scores = {
        # -1 ranks what an earlier level removed below every weight that is left, zeros included
        layer.name: torch.where(masks[layer.name], weights[layer.parameter].abs(), -1.0)
        for layer in bench.layers
        if layer.name not in dense
    }
    kept = keep_largest(scores, keep) if isinstance(keep, int) else keep_largest_per_layer(scores, keep)
    return {layer.name: kept.get(layer.name, masks[layer.name]) for layer in bench.layers}
