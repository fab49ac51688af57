"""stages: one multiplier a stage of the network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from itertools import groupby
from math import log10
from typing import TYPE_CHECKING, Literal

from search_spaces.space import Range, Space, SpaceOptions

if TYPE_CHECKING:
    from methods.layers import Layer


class Stages(Space):
    """The layers of a stage keep what a `base` formula gives them, times 10 to the power of the stage's coordinate. The
    base itself is 0 everywhere. A stage is a list of layers: see `network_stages`."""

    name = "stages"
    summary = "one multiplier (log10) a network stage on uniform or erk: holds that base"
    proportional = True

    class Options(SpaceOptions):
        base: Literal["uniform", "erk"] = "uniform"
        """The formula that the stages multiply."""
        groups: tuple[str, ...] | None = None
        """Patterns of layer names (stage1.*), each a stage; every layer must match exactly one. Default: by the names
        and widths of the layers."""
        multiplier: Range = (-1.5, 1.5)
        """Range of log10 of a stage's multiplier."""

    def set_up(self) -> dict[str, tuple[float, float]]:
        groups = self.options.groups
        self.stages = network_stages(self.layers) if groups is None else matched(self.layers, groups)
        self._of = {i: f"stage/{stage}" for stage, members in self.stages.items() for i in members}
        # ERK's density is proportional to sum(dims) / prod(dims), hence its count to sum(dims)
        erk = self.options.base == "erk"
        self._base = [sum(layer.shape) if erk else layer.weights for layer in self.layers]
        return {f"stage/{stage}": self.options.multiplier for stage in self.stages}

    def wanted(self, point: Mapping[str, float], keep: int) -> list[Fraction]:
        return [Fraction(10.0 ** point[self._of[i]]) * amount for i, amount in enumerate(self._base)]

    def guesses(self, counts: Sequence[int], keep: int) -> Iterator[dict[str, float]]:
        """The base; then each stage's kept weights over those of the base, by the layers that are not full. A full
        stage gets what fills its last layer. Only proportions count: the multipliers lie mid-range."""
        yield dict.fromkeys(self.coordinates, 0.0)
        logs = {}
        for stage, members in self.stages.items():
            open_ = [i for i in members if 0 < counts[i] < self.layers[i].weights]
            if open_:
                logs[stage] = log10(sum(counts[i] for i in open_) / sum(self._base[i] for i in open_))
            else:
                logs[stage] = max(log10(max(counts[i], 0.5) / self._base[i]) for i in members)
        low, high = self.options.multiplier
        shift = (low + high - max(logs.values()) - min(logs.values())) / 2
        yield {f"stage/{stage}": own + shift for stage, own in logs.items()}

    def _remedy(self) -> str:
        return "the space free holds every distribution; this one only multiples of its base, within `multiplier`"


def network_stages(layers: Sequence[Layer]) -> dict[str, list[int]]:
    """The stages of a network by the names and widths of its layers: stage -> positions of its layers.

    A block is the layers whose names agree up to the first part that ends in a digit (features.7, stage1, layer2); a
    name without one is a block of its own (conv, head.0 is block head.0). Blocks that follow each other belong
    to one stage where they are of a kind (the same name but for the digits at its end) and of one width (outputs of
    their last layer). The classifier is a stage of its own. A stage is named after its first block.

    So ResNet-20 gives conv, stage1, stage2, stage3, fc; VGG-19 its runs of equal width (features.0, features.7,
    features.14, features.27) and fc; torchvision's ResNets conv1, layer1 to layer4, fc."""
    blocks: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        if not layer.classifier:
            blocks.setdefault(_block(layer.name), []).append(i)
    stages = {}
    for _, run in groupby(blocks, lambda block: (block.rstrip("0123456789"), layers[blocks[block][-1]].shape[0])):
        first, *others = run
        stages[first] = [i for block in (first, *others) for i in blocks[block]]
    return stages | {layer.name: [i] for i, layer in enumerate(layers) if layer.classifier}


def _block(name: str) -> str:
    """A layer's name up to its first part that ends in a digit."""
    found = re.match(r"(?:[^.]*\.)*?[^.]*\d(?=\.|$)", name)
    return found.group() if found else name


def matched(layers: Sequence[Layer], patterns: Sequence[str]) -> dict[str, list[int]]:
    """The stages that patterns of layer names make: pattern -> positions of its layers. Raises ValueError where a layer
    matches none or several, or a pattern no layer."""
    stages: dict[str, list[int]] = {pattern: [] for pattern in patterns}
    for i, layer in enumerate(layers):
        own = [pattern for pattern in stages if fnmatchcase(layer.name, pattern)]
        if len(own) != 1:
            said = f"matches {' and '.join(own)}" if own else "matches none"
            raise ValueError(f"groups: layer {layer.name!r} {said}; expected exactly one pattern for each layer")
        stages[own[0]].append(i)
    if empty := [pattern for pattern, members in stages.items() if not members]:
        names = ", ".join(layer.name for layer in layers)
        raise ValueError(f"groups: {empty[0]!r} matches no layer; the layers are {names}")
    return stages
