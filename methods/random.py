"""Random tickets: a layer-wise ratio, and positions drawn at random."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from methods import budget, method
from methods.bench import Stage, Tensors, Ticket, Workbench
from methods.checks import rearranged
from methods.lamp import lamp_masks
from methods.ratio_file import RatioFile
from methods.ratios import given_counts, layer_counts


class RatioOptions(method.Options):
    """How many weights of each layer are kept."""

    ratio: Literal["uniform", "balanced", "erk", "smart", "ascend", "linear_decay", "cubic", "lamp"] | None = None
    """Layer-wise ratio (default: smart); lamp is the one that the trained network's magnitudes say (Lee et al., ICLR
    2021)."""
    ratios: RatioFile | None = None
    """The keep ratio of every layer instead, or a JSON file of them (what `jackpot ratios --json` prints will do);
    scaled to the sparsity."""
    classifier_keep: Decimal | None = Field(None, gt=0, le=1)
    """Fixed keep ratio of the last linear layer (default: 0.3 for smart, ascend, linear_decay and cubic, as in the
    paper; free for the others)."""

    @model_validator(mode="after")
    def _one_ratio(self) -> RatioOptions:
        if self.ratio is None and self.ratios is None and getattr(self, "same_as", None) is None:
            object.__setattr__(self, "ratio", "smart")  # frozen; as if it had been written
        if self.ratio is not None and self.ratios is not None:
            raise ValueError("ratio and ratios are two ways to say how much each layer keeps; choose one")
        if self.classifier_keep is not None and (self.by_lamp or self.ratios is not None):
            raise ValueError("classifier_keep goes with a ratio that is a formula; leave it out")
        return self

    @property
    def by_lamp(self) -> bool:
        """Whether the counts are the trained network's."""
        return self.ratio == "lamp"

    def counts(self, bench: Workbench, reference: bool) -> list[int]:
        """Weights that each layer keeps. Raises ValueError where the ratio does not go with the network."""
        if self.ratios is not None:
            return given_counts(self.ratios, bench.layers, bench.sparsity)
        return layer_counts(
            str(self.ratio),
            bench.layers,
            bench.sparsity,
            residual=bench.residual,
            classifier_keep=self.classifier_keep,
            reference=reference,
        )


class Random(method.Method):
    """Keep a given number of weights in each layer, at positions drawn uniformly at random."""

    name = "random"
    ticket = "random"
    summary = "random positions under a layer-wise ratio"
    paper = "Su et al., Sanity-Checking Pruning Methods: Random Tickets can Win the Jackpot, NeurIPS 2020"
    uses_data = False
    cost = "one training; `ratio: lamp` one more, of the dense network; `same_as` what the other method takes"

    class Options(RatioOptions):
        same_as: str | dict[str, Any] | None = None
        """Keep in each layer what this method's ticket keeps there, instead of a ratio: its name, or a mapping of its
        name and options. The control that tells positions from proportions."""
        variant: Literal["exact", "reference"] = "exact"
        """`exact` meets the budget to the weight; `reference` rounds every layer down as the authors' code does."""

        @model_validator(mode="after")
        def _same_as_or_ratio(self) -> Random.Options:
            if self.same_as is not None:
                others = (self.ratio, self.ratios, self.classifier_keep)
                if any(other is not None for other in others):
                    raise ValueError("same_as takes the layer-wise ratio of another method; leave out any other ratio")
            return self

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under random masks."""
        if found := self._found(bench):
            return Ticket(bench.initialise(), bench.compute(rearranged, found))
        counts = self.options.counts(bench, reference=self.options.variant == "reference")
        return Ticket(bench.initialise(), bench.compute(random_masks, keep=counts))

    def _found(self, bench: Workbench) -> Stage | None:
        """The masks whose layer-wise ratio is taken, where that is no formula."""
        if self.options.by_lamp:
            keep = budget.kept(budget.total(bench.layers), bench.sparsity)
            return bench.compute(lamp_masks, bench.train(bench.initialise()), keep=keep)
        if self.options.same_as is None:
            return None
        same_as = self.options.same_as
        options = {"name": same_as} if isinstance(same_as, str) else dict(same_as)
        name = str(options.pop("name", ""))
        try:
            masks = bench.found_by(name, options).masks
        except LookupError as error:
            raise ValueError(f"same_as: {error}") from error
        if masks == bench.dense_masks():
            raise ValueError(f"same_as: the ticket of {name} has no masks; name a method that removes weights")
        return masks


def random_masks(bench: Workbench, keep: list[int]) -> Tensors:
    """Masks with exactly keep[l] weights in layer l, every choice of positions equally likely."""
    masks = {}
    for layer, count in zip(bench.layers, keep, strict=True):
        order = torch.randperm(layer.weights, generator=bench.generator("random positions", layer.name))
        mask = torch.zeros(layer.weights, dtype=torch.bool)
        mask[order[:count]] = True
        masks[layer.name] = mask.reshape(layer.shape)
    return masks
