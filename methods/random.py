"""Random tickets: a layer-wise ratio, and positions drawn at random."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import model_validator

from methods import method
from methods.bench import Stage, Tensors, Ticket, Workbench
from methods.checks import rearranged
from methods.layer_ratio import SEARCHED, Formula, LayerRatio, by_ratio
from methods.magnitude import largest


class RatioOptions(LayerRatio):
    """How many weights of each layer are kept, smart where nothing is said."""

    ratio: Literal[Formula, "lamp", "magnitude"] | None = None
    """Layer-wise ratio: uniform, balanced, erk, smart (default), ascend, linear_decay, cubic, or what the trained
    network says: lamp by its layer-adaptive magnitudes (Lee et al., ICLR 2021), magnitude by its largest weights over
    all layers together."""

    @model_validator(mode="after")
    def _smart_by_default(self) -> RatioOptions:
        if self.ratio is None and self.ratios is None and getattr(self, "same_as", None) is None:
            object.__setattr__(self, "ratio", "smart")  # frozen; as if it had been written
        return self


class Random(method.Method):
    """Keep a given number of weights in each layer, at positions drawn uniformly at random."""

    name = "random"
    ticket = "random"
    summary = "random positions under a layer-wise ratio"
    paper = "Su et al., Sanity-Checking Pruning Methods: Random Tickets can Win the Jackpot, NeurIPS 2020"
    uses_data = False
    cost = (
        "one training; `ratio: lamp` or `magnitude` one more, of the dense network; `same_as` what the other method "
        "takes"
    )
    formulas = by_ratio(*SEARCHED, "magnitude")

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
        if self.options.same_as is not None:
            return Ticket(bench.initialise(), bench.compute(rearranged, self._same_as(bench)))
        keep = self.options.kept(
            bench.layers, bench.sparsity, bench.residual, reference=self.options.variant == "reference"
        )
        if self.options.by_network:
            trained = bench.train(bench.initialise())
            found = largest(bench, trained, bench.dense_masks(), self.options.ratio, keep)
            return Ticket(bench.initialise(), bench.compute(rearranged, found))
        return Ticket(bench.initialise(), bench.compute(random_masks, keep=list(keep.values())))

    def _same_as(self, bench: Workbench) -> Stage:
        """The masks of the other method, whose layer-wise ratio is taken."""
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
