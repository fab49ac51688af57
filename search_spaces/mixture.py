"""mixture: between known distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import lcm
from typing import Literal

from pydantic import Field

from methods import budget
from methods.ratios import formula_counts
from search_spaces.space import Space, SpaceOptions

FORMULAS = ("uniform", "balanced", "erk", "smart")
Component = Literal["uniform", "balanced", "erk", "smart", "lamp", "magnitude"]


class Mixture(Space):
    """A convex combination of distributions, each of which meets the budget: layer l keeps sum_i w_i k_il weights,
    where w = x / sum(x) of the coordinates x (equal weights where all are 0)."""

    name = "mixture"
    summary = "weights over known distributions: holds each of them"
    proportional = False

    class Options(SpaceOptions):
        of: tuple[Component, ...] | None = Field(None, min_length=1)
        """The distributions to mix; lamp and magnitude are read off a trained network. Default: uniform, erk, smart
        (where the network says whether it is residual) and what was read off a trained network."""

    def set_up(self) -> dict[str, tuple[float, float]]:
        known = ["uniform", "erk", *(["smart"] if self.residual is not None else []), *self.profiles]
        names = list(dict.fromkeys(known if self.options.of is None else self.options.of))
        for name in names:
            if name not in FORMULAS and name not in self.profiles:
                raise ValueError(
                    f"of: {name} is read off a trained network, and none is given here; expected "
                    f"some of {', '.join([*FORMULAS, *self.profiles])}"
                )
            if name == "smart" and self.residual is None:
                raise ValueError(
                    "of: smart depends on whether the network has residual connections, and this one does not say; "
                    "give it an attribute `residual`, True or False, or leave smart out"
                )
        self._known: dict[int, list[list[int]]] = {}
        return dict.fromkeys(names, (0.0, 1.0))

    def components(self, keep: int) -> list[list[int]]:
        """Weights that each layer keeps under each distribution at a budget, in the order of the coordinates."""
        if keep not in self._known:
            self._known[keep] = [self._component(name, keep) for name in self.coordinates]
        return self._known[keep]

    def _component(self, name: str, keep: int) -> list[int]:
        if name not in self.profiles:
            return formula_counts(name, self.layers, keep, residual=self.residual)
        caps = [layer.weights for layer in self.layers]
        return budget.project([Fraction(count) for count in self.profiles[name]], [0] * len(caps), caps, keep)

    @property
    def needs(self) -> tuple[str, ...]:
        """The distributions that are read off a trained network."""
        return tuple(name for name in self.coordinates if name not in FORMULAS)

    def wanted(self, point: Mapping[str, float], keep: int) -> list[Fraction]:
        exact = [Fraction(point[name]) for name in self.coordinates]
        scale = lcm(*(value.denominator for value in exact))
        shares = [int(value * scale) for value in exact]  # whole numbers: exact, and quick
        if not any(shares):
            shares = [1] * len(shares)
        layers = zip(*self.components(keep), strict=True)
        return [Fraction(sum(a * b for a, b in zip(shares, own, strict=True)), sum(shares)) for own in layers]

    def guesses(self, counts: Sequence[int], keep: int) -> Iterator[dict[str, float]]:
        """Each distribution alone; then non-negative least squares over the counts."""
        for name in self.coordinates:
            yield dict.fromkeys(self.coordinates, 0.0) | {name: 1.0}
        import numpy as np
        from scipy.optimize import nnls

        if keep:
            shares, _ = nnls(
                np.array(self.components(keep), dtype=float).T / keep, np.array(counts, dtype=float) / keep
            )
            if shares.max() > 0:
                yield dict(zip(self.coordinates, (shares / shares.max()).tolist(), strict=True))

    def _remedy(self) -> str:
        return "the space free holds every distribution; this one holds what its option `of` names"
