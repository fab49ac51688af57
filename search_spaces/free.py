"""free: one coordinate a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import log10

from pydantic import Field

from search_spaces.space import Space, SpaceOptions


class Free(Space):
    """A layer's coordinate is log10 of its keep ratio, before the common factor that meets the budget."""

    name = "free"
    summary = "one keep ratio a layer (log10): holds every distribution"
    proportional = True

    class Options(SpaceOptions):
        low: float = Field(-4, lt=0)
        """Lower end of every coordinate: log10 of the smallest keep ratio, against a dense layer."""

    def set_up(self) -> dict[str, tuple[float, float]]:
        return {layer.name: (self.options.low, 0.0) for layer in self.layers}

    def wanted(self, point: Mapping[str, float], keep: int) -> list[Fraction]:
        return [Fraction(10.0 ** point[layer.name]) * layer.weights for layer in self.layers]

    def guesses(self, counts: Sequence[int], keep: int) -> Iterator[dict[str, float]]:
        """The ratios themselves; then, since only proportions count, the same with the largest at 1."""
        low = self.options.low
        logs = [
            log10(count / layer.weights) if count else low for count, layer in zip(counts, self.layers, strict=True)
        ]
        for shift in (0.0, max(logs)):
            yield {layer.name: log - shift for layer, log in zip(self.layers, logs, strict=True)}

    def _remedy(self) -> str:
        return "lower its option `low`, so that the smallest ratio lies within the range"
