"""A parameterisation of layer-wise ratios: coordinates that a search moves in, and the counts that a point of them
gives at an exact budget.

Every space answers the same two questions. `counts`: how many weights does each layer keep at this point? They
add up to the budget, whatever the point. `point`: which point gives these counts? So that a search can start at
the formulas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict

from methods import budget

if TYPE_CHECKING:
    from methods.layers import Layer


class Inexpressible(ValueError):
    """Counts that no point of the space gives. The message says what would work."""


WIDEST = 50
"""Exponents beyond this leave the numbers of a computer, and no network has layers so different."""


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] < pair[1]:
        raise ValueError(f"expected a range [low, high] with low below high, got [{pair[0]}, {pair[1]}]")
    if max(map(abs, pair)) > WIDEST:
        raise ValueError(f"expected a range within -{WIDEST} to {WIDEST}, got [{pair[0]}, {pair[1]}]")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
"""The range of a coordinate: [low, high]."""


class SpaceOptions(BaseModel):
    """A space's options: typed, bounded, documented by their docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Space(ABC):
    """Layer-wise ratios of one network by a few coordinates. A subclass says its coordinates in `set_up`, and writes
    `wanted`, and `guesses` for the way back."""

    name: ClassVar[str]
    """Its name in a spec."""
    summary: ClassVar[str]
    """What the coordinates mean, in one line."""
    proportional: ClassVar[bool]
    """Whether `wanted` says proportions only, whatever the budget, and not by the shape of weights, which groups of
    filters have none of: such a space also serves filter pruning."""

    Options: ClassVar[type[SpaceOptions]] = SpaceOptions

    coordinates: dict[str, tuple[float, float]]
    """Name -> (low, high): one continuous range each, in a fixed order."""

    def __init__(
        self,
        layers: Sequence[Layer],
        residual: bool | None,
        profiles: Mapping[str, Sequence[int]] | None = None,
        **options: Any,
    ) -> None:
        """`residual`: whether the network has residual connections, None where it does not say. `profiles`: weights
        that each layer keeps under distributions read off a trained network, by name (lamp, magnitude). Raises
        ValueError for options that do not go with the network."""
        self.layers, self.residual, self.profiles = tuple(layers), residual, dict(profiles or {})
        self.options: Any = self.Options(**options)
        self.coordinates = self.set_up()

    @abstractmethod
    def set_up(self) -> dict[str, tuple[float, float]]:
        """Look at the network: the coordinates' ranges. Raises ValueError for options that do not go with it."""

    @abstractmethod
    def wanted(self, point: Mapping[str, float], keep: int) -> list[Fraction]:
        """Weights that each layer is to keep, 0 or more, before they are projected onto the budget of `keep`."""

    @abstractmethod
    def guesses(self, counts: Sequence[int], keep: int) -> Iterator[dict[str, float]]:
        """Points that may give these counts, the likeliest first. A coordinate outside its range is clamped."""

    def counts(
        self,
        point: Mapping[str, float],
        keep: int,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
    ) -> list[int]:
        """Weights that each layer keeps at a point: they add up to `keep` exactly and lie within the bounds. Defaults:
        one weight a layer (0 where the budget is less than that) up to all of them. Raises ValueError where the
        bounds cannot hold the budget."""
        lowest = self._lowest(keep) if low is None else low
        highest = [layer.weights for layer in self.layers] if high is None else high
        return budget.project(self.wanted(point, keep), lowest, highest, keep)

    def point(self, counts: Sequence[int], keep: int) -> dict[str, float]:
        """A point within the ranges whose `counts` are these, within one weight a layer. A layer that keeps none counts
        as one that keeps 1, as every proposal does. Raises Inexpressible."""
        caps = [layer.weights for layer in self.layers]
        asked = budget.project([Fraction(count) for count in counts], self._lowest(keep), caps, keep)
        misses = []
        for guess in self.guesses(asked, keep):
            point = {name: min(max(guess[name], low), high) for name, (low, high) in self.coordinates.items()}
            found = self.counts(point, keep)
            miss, i = max((abs(own - other), -i) for i, (own, other) in enumerate(zip(found, asked, strict=True)))
            if miss <= 1:
                return point
            misses.append((miss, self.layers[-i].name, found[-i], asked[-i]))
        nearest = "no guess fits"
        if misses:
            _, layer, own, other = min(misses)
            nearest = f"the nearest keeps {own} weights in layer {layer!r}, where {other} are asked"
        raise Inexpressible(f"no point of the space {self.name} gives these counts ({nearest}); {self._remedy()}")

    @property
    def needs(self) -> tuple[str, ...]:
        """The profiles that its proposals are made from."""
        return ()

    def _lowest(self, keep: int) -> list[int]:
        """One weight a layer, or none where the budget is less than that."""
        return [int(keep >= len(self.layers))] * len(self.layers)

    def _remedy(self) -> str:
        """What to do about counts that the space cannot give."""
        return "the space free holds every distribution"
