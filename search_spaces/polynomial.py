"""polynomial: ratios that fall with depth, of which the smart ratio is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import log10

from pydantic import field_validator

from methods.ratios import carry_down
from search_spaces.space import Range, Space, SpaceOptions


class Polynomial(Space):
    """Layer l of n keeps a ratio proportional to q_l = ((n - l + 1)(n - l + 2)) ** (power / 2) / l ** decay, and the
    classifier one of its own. What a layer cannot hold moves on to the next.

    power 2 with decay 0 (residual networks) or 2 (others) and a classifier that keeps 0.3 is the smart ratio of Su et
    al., "Sanity-Checking Pruning Methods", NeurIPS 2020, with its order and its carry. power 0 and decay 0 is
    uniform. A classifier that alone is over the budget is cut to it."""

    name = "polynomial"
    summary = "a power of the depth, a decay and the classifier's ratio: holds smart and uniform"
    proportional = False

    class Options(SpaceOptions):
        power: Range = (0.0, 4.0)
        """Range of the power of the depth that is left."""
        decay: Range = (0.0, 4.0)
        """Range of the power of the layer's number, which divides."""
        classifier: Range = (-3.0, 0.0)
        """Range of log10 of the classifier's keep ratio, at most 0."""

        @field_validator("classifier")
        @classmethod
        def _at_most_dense(cls, pair: tuple[float, float]) -> tuple[float, float]:
            if pair[1] > 0:
                raise ValueError(f"expected log10 of a keep ratio, at most 0, got {pair[1]}")
            return pair

    def set_up(self) -> dict[str, tuple[float, float]]:
        self._classifier = next((i for i, layer in enumerate(self.layers) if layer.classifier), None)
        n = len(self.layers)  # layer l is number 1..n, and k = n - l + 1 are left from it on
        self._depths = [((n - number + 1) * (n - number + 2), number) for number in range(1, n + 1)]
        ranges = {"power": self.options.power, "decay": self.options.decay}
        return ranges if self._classifier is None else ranges | {"classifier": self.options.classifier}

    def wanted(self, point: Mapping[str, float], keep: int) -> list[Fraction]:
        caps = [layer.weights for layer in self.layers]
        amounts = [
            _proportion(left, number, float(point["power"]) / 2, float(point["decay"])) * cap
            for (left, number), cap in zip(self._depths, caps, strict=True)
        ]
        fixed: dict[int, Fraction] = {}
        if (last := self._classifier) is not None:
            amounts[last] = Fraction(0)
            fixed[last] = min(_tenth_power(point["classifier"]) * caps[last], Fraction(keep))
        return carry_down(amounts, caps, keep, fixed)

    def guesses(self, counts: Sequence[int], keep: int) -> Iterator[dict[str, float]]:
        """Whole powers, then what least squares gives, each beside the classifier's own ratio."""
        own: dict[str, float] = {}
        if (last := self._classifier) is not None:
            own["classifier"] = log10(counts[last] / self.layers[last].weights) if counts[last] else float("-inf")
        for whole, decay in product(range(5), range(3)):
            yield {"power": float(whole), "decay": float(decay), **own}
        yield self._fitted(counts, keep, own)

    def _fitted(self, counts: Sequence[int], keep: int, own: dict[str, float]) -> dict[str, float]:
        """Power and decay by least squares over the counts, from the nearest point of a grid: what full layers hand on
        to the next ones depends on all of them, so no closed form gives these two."""
        import numpy as np
        from scipy.optimize import least_squares

        def misses(pair: Sequence[float]) -> np.ndarray:
            return np.array([float(x) for x in self.wanted({"power": pair[0], "decay": pair[1], **own}, keep)]) - counts

        ranges = (self.options.power, self.options.decay)
        grid = product(*(np.linspace(low, high, 5) for low, high in ranges))
        start = min(grid, key=lambda pair: float(np.square(misses(pair)).sum()))
        found = least_squares(misses, start, bounds=tuple(zip(*ranges, strict=True)), xtol=1e-12, ftol=1e-12)
        return {"power": float(found.x[0]), "decay": float(found.x[1]), **own}

    def _remedy(self) -> str:
        return "the space free holds every distribution, and wider ranges (its options power, decay, classifier) more"


def _proportion(left: int, number: int, half_power: float, decay: float) -> Fraction:
    """q_l: exact for whole exponents, so that the smart ratio is met to the weight; else the nearest float."""
    if half_power.is_integer() and decay.is_integer():
        return Fraction(left ** int(half_power), number ** int(decay))
    return Fraction(left**half_power / number**decay)


def _tenth_power(exponent: float) -> Fraction:
    """10 ** exponent to 12 decimals: a ratio that a person wrote is met exactly (0.3 from log10(0.3))."""
    return Fraction(str(round(10.0**exponent, 12)))
