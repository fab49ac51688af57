"""The options that say how many weights of each layer are kept."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, model_validator

from methods import budget, method
from methods.layers import Layer
from methods.ratio_file import RatioFile
from methods.ratios import given_counts, layer_counts

Formula = Literal["uniform", "balanced", "erk", "smart", "ascend", "linear_decay", "cubic"]
SEARCHED = ("uniform", "erk", "smart", "lamp")
"""Ratios that a search over ratios starts from and is compared with; besides these, what global magnitudes say."""


class LayerRatio(method.Options):
    """A layer-wise ratio, or none."""

    ratio: Literal[Formula, "lamp", "magnitude"] | None = None
    """Layer-wise ratio (default: none); lamp and magnitude are what the trained network says."""
    ratios: RatioFile | None = None
    """The keep ratio of every layer instead, or a JSON file of them (what `jackpot ratios --json` prints will do);
    scaled to the sparsity."""
    classifier_keep: Decimal | None = Field(None, gt=0, le=1)
    """Fixed keep ratio of the last linear layer (default: 0.3 for smart, ascend, linear_decay and cubic, as in the
    paper; free for the others)."""

    @model_validator(mode="after")
    def _one_ratio(self) -> LayerRatio:
        if self.ratio is not None and self.ratios is not None:
            raise ValueError("ratio and ratios are two ways to say how much each layer keeps; choose one")
        if self.classifier_keep is not None and (self.by_network or self.ratios is not None):
            raise ValueError("classifier_keep goes with a ratio that is a formula; leave it out")
        return self

    @property
    def by_network(self) -> bool:
        """Whether the counts are the trained network's: its largest scores over all layers together are kept."""
        return self.ratio in ("lamp", "magnitude")

    def kept(
        self, layers: Sequence[Layer], sparsity: Decimal, residual: bool | None, reference: bool = False
    ) -> int | dict[str, int]:
        """Weights that each layer keeps, by name; of a ratio that the trained network says, how many all layers keep
        together. `residual` and `reference` as in `layer_counts`. Raises ValueError where the ratio does not go with
        the network."""
        if self.by_network:
            return budget.kept(budget.total(layers), sparsity)
        if self.ratios is not None:
            counts = given_counts(self.ratios, layers, sparsity)
        else:
            counts = layer_counts(
                str(self.ratio),
                layers,
                sparsity,
                residual=residual,
                classifier_keep=self.classifier_keep,
                reference=reference,
            )
        return {layer.name: count for layer, count in zip(layers, counts, strict=True)}


def by_ratio(*ratios: str) -> dict[str, dict[str, Any]]:
    """`Method.formulas` of these ratios: the option `ratio` chooses each."""
    return {ratio: {"ratio": ratio} for ratio in ratios}
