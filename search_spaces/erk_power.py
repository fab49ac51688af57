"""erk_power: between uniform and ERK, and beyond."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import log, prod

from search_spaces.space import Range, Space, SpaceOptions


class ErkPower(Space):
    """Keep ratio proportional to (sum of the weight's dimensions / their product) ** power: 0 is uniform, 1 is the
    Erdos-Renyi-kernel of Evci et al., "Rigging the Lottery", ICML 2020. Over-full layers are dense, and the rest is
    scaled again."""

    name = "erk_power"
    summary = "one exponent of ERK's density: holds uniform (0) and erk (1)"
    proportional = False

    class Options(SpaceOptions):
        power: Range = (0.0, 2.0)
        """Range of the exponent."""

    def set_up(self) -> dict[str, tuple[float, float]]:
        self._densities = [Fraction(sum(layer.shape), prod(layer.shape)) for layer in self.layers]
        return {"power": self.options.power}

    def wanted(self, point: Mapping[str, float], keep: int) -> list[Fraction]:
        pairs = zip(self.layers, self._densities, strict=True)
        power = point["power"]
        if float(power).is_integer():  # exact, so that uniform and ERK are met to the weight
            return [density ** int(power) * layer.weights for layer, density in pairs]
        return [Fraction(float(density) ** power) * layer.weights for layer, density in pairs]

    def guesses(self, counts: Sequence[int], keep: int) -> Iterator[dict[str, float]]:
        """uniform and ERK; then the slope of log(keep ratio) over log(density), by least squares over the layers that
        are not full. The logarithm of a whole count is wrong by about 1 / count: hence the weights."""
        yield {"power": 0.0}
        yield {"power": 1.0}
        rows = [
            (log(density), log(count / layer.weights), count**2)
            for layer, density, count in zip(self.layers, self._densities, counts, strict=True)
            if 0 < count < layer.weights
        ]
        total = sum(weight for *_, weight in rows)
        if not total:
            return
        middle_x = sum(x * weight for x, _, weight in rows) / total
        middle_y = sum(y * weight for _, y, weight in rows) / total
        spread = sum(weight * (x - middle_x) ** 2 for x, _, weight in rows)
        if spread:
            slope = sum(weight * (x - middle_x) * (y - middle_y) for x, y, weight in rows) / spread
            yield {"power": slope}
