"""Magnitude pruning of trained networks: what lottery tickets, rewinding and fine-tuning share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import torch
from pydantic import Field, model_validator

from methods import budget, method
from methods.bench import Stage, Tensors, Ticket, Workbench
from methods.lamp import lamp_masks
from methods.layer_ratio import SEARCHED, Formula, LayerRatio, by_ratio
from methods.layers import Layer
from methods.masks import keep_largest, keep_largest_per_layer

MAX_LEVELS = 1000
"""More are taken for a slip in `fraction`: each level trains the network once."""


class Options(method.Options):
    """Of every method that prunes by magnitude."""

    scope: Literal["global", "layerwise"] = "global"
    """Rank the weights of all layers together, or remove the same fraction in each."""
    prune_classifier: bool = True
    """False leaves the last linear layer dense; the other layers absorb its share of the sparsity."""


class TrainedOptions(LayerRatio, Options):
    """Of every method that prunes the trained network by magnitude."""

    ratio: Literal[Formula, "lamp"] | None = None
    """Layer-wise ratio: uniform, balanced, erk, smart, ascend, linear_decay, cubic, or lamp, the one of layer-adaptive
    magnitudes (Lee et al., ICLR 2021). The largest weights of each layer stay. Default: none, `scope` says how they are
    ranked."""

    @model_validator(mode="after")
    def _ratio_alone(self) -> TrainedOptions:
        given = next((key for key in ("ratio", "ratios") if getattr(self, key) is not None), None)
        if given and (self.scope != "global" or not self.prune_classifier):
            other = "scope" if self.scope != "global" else "prune_classifier"
            raise ValueError(f"{given} says how much each layer keeps, and {other} would say it again; leave one out")
        if self.classifier_keep is not None and not given:
            raise ValueError("classifier_keep goes with a ratio that is a formula; give one, or leave it out")
        return self


class IterativeOptions(TrainedOptions):
    """Of a method that may take several levels."""

    fraction: Decimal | None = Field(None, gt=0, lt=1)
    """Fraction of the remaining weights that each level removes; none: everything in one level."""
    exact: bool = True
    """Meet the sparsity to the weight by a last level that removes less; false keeps whole levels, the last of which
    reaches the sparsity or goes past it."""


class MagnitudePruning(method.Method):
    """Train, remove the smallest weights, train what is left, again and again until the sparsity is reached. How what
    is left is trained is the subclass's."""

    Options = TrainedOptions
    uses_data = True
    formulas = by_ratio(*SEARCHED) | {"magnitude": {}}

    @abstractmethod
    def retrained(self, bench: Workbench, trained: Stage, masks: Stage) -> Ticket:
        """The ticket of these masks: what the weights `trained`, which they were found on, are trained from."""

    def begin(self, bench: Workbench) -> None:
        """Ask for what must lie before the dense training; refuse what cannot be."""

    def find(self, bench: Workbench) -> Ticket:
        """Levels at density (1 - fraction)^t, shared by all targets; the last one lands on the target exactly."""
        fraction: Decimal | None = getattr(self.options, "fraction", None)
        sparsities = list(levels(bench.sparsity, fraction, exact=getattr(self.options, "exact", True)))
        keep: int | dict[str, int] = {layer.name: layer.weights for layer in bench.layers}
        level_counts(self.options, bench, sparsities[-1], keep)  # refuses the target itself, before a level on its way
        self.begin(bench)
        trained, masks = bench.train(bench.initialise()), bench.dense_masks()
        for level, sparsity in enumerate(sparsities, start=1):
            keep, dense = level_counts(self.options, bench, sparsity, keep)
            masks = largest(bench, trained, masks, self.options.ratio, keep, dense)
            ticket = self.retrained(bench, trained, masks)
            if level < len(sparsities):
                trained = ticket.trained or bench.train(ticket.weights, ticket.masks)
        return ticket


def largest(
    bench: Workbench,
    trained: Stage,
    masks: Stage,
    ratio: str | None,
    keep: int | dict[str, int],
    dense: Sequence[str] = (),
) -> Stage:
    """Masks within `masks` of the `keep` largest magnitudes: see `magnitude_masks`; for ratio lamp, of the largest LAMP
    scores over all layers together."""
    if ratio == "lamp":
        return bench.compute(lamp_masks, trained, masks, keep=keep)
    return bench.compute(magnitude_masks, trained, masks, keep=keep, dense=list(dense))


def level_counts(
    options: TrainedOptions, bench: Workbench, sparsity: Decimal, before: int | dict[str, int]
) -> tuple[int | dict[str, int], list[str]]:
    """`counts`, or those of the layer-wise ratio where the options give one."""
    if options.ratio is None and options.ratios is None:
        return counts(options, bench.layers, sparsity, before)
    keep = options.kept(bench.layers, sparsity, bench.residual)
    if isinstance(keep, int) or isinstance(before, int):
        return keep, []
    # rounded level by level, a layer might get a weight back
    exact, caps = [Fraction(count) for count in keep.values()], [before[name] for name in keep]
    return dict(zip(keep, budget.share(exact, caps, sum(keep.values())), strict=True)), []


def counts(
    options: Options, layers: tuple[Layer, ...], sparsity: Decimal, before: int | dict[str, int]
) -> tuple[int | dict[str, int], list[str]]:
    """What a level keeps of the layers it prunes: a count over all of them, or one of each, given what the level
    `before` it kept; and the layers it leaves dense. The key of a level depends on this alone, so that targets share
    their levels. Raises ValueError where the dense layers alone are over the budget."""
    pruned, dense, keep = split(options, layers, sparsity)
    names = [layer.name for layer in dense]
    if options.scope == "global" or isinstance(before, int):
        return keep, names
    total = budget.total(pruned)
    exact = [Fraction(layer.weights * keep, total) for layer in pruned]
    # at most what was left: by largest remainder alone a smaller total may give a layer a weight more
    shared = budget.share(exact, [before[layer.name] for layer in pruned], keep)
    return {layer.name: count for layer, count in zip(pruned, shared, strict=True)}, names


def split(options: Options, layers: tuple[Layer, ...], sparsity: Decimal) -> tuple[list[Layer], list[Layer], int]:
    """The layers that are pruned, those left dense, whose weights count towards the sparsity all the same, and how many
    weights the pruned ones keep. Raises ValueError where that is less than none."""
    classifier = next((layer for layer in layers if layer.classifier), None)
    dense = [classifier] if classifier and not options.prune_classifier else []
    keep = budget.kept(budget.total(layers), sparsity) - budget.total(dense)
    if keep < 0:
        raise ValueError(
            f"sparsity {float(sparsity):.6g} keeps fewer weights than the {budget.total(dense)} of the "
            "classifier that `prune_classifier: false` leaves dense; lower the sparsity or prune the classifier"
        )
    return [layer for layer in layers if layer not in dense], dense, keep


def levels(target: Decimal, fraction: Decimal | None, exact: bool) -> Iterator[Decimal]:
    """Sparsities 1 - (1 - fraction)^t below the target and then the target, or the first of them past it."""
    if fraction is None:
        yield target
        return
    number = float((1 - target).ln() / (1 - fraction).ln())
    if number > MAX_LEVELS:
        raise ValueError(
            f"fraction: {fraction} takes {number:,.0f} levels, each a training, to sparsity {target}; at most "
            f"{MAX_LEVELS:,} are allowed, so raise it"
        )
    density = 1 - fraction
    while density > 1 - target:
        yield 1 - density
        density *= 1 - fraction
    yield target if exact else 1 - density


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
