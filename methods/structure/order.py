"""In which order filters go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from methods.bench import Tensors
from methods.layers import Layer


def removal_order(
    layers: Sequence[Layer], scores: Tensors, ratios: dict[str, str] | None = None
) -> list[tuple[str, int]]:
    """(group, number) of all units but the best of each group, in the order that they go: the lowest score over all
    groups first. Under keep ratios r the largest k / (r n) first, where k is the unit's rank within its group (1 the
    best) and n the size of the group in the dense network: at any point each group keeps a share in proportion to its
    ratio, as nearly as whole units allow; of a ratio of 0 all units go before any other's. Ties: the group that comes
    first in module order, then the earlier unit."""
    place = {layer.name: number for number, layer in enumerate(layers)}
    size = {layer.name: layer.shape[0] for layer in layers}

    def share(name: str, rank: int) -> Fraction | float:
        wanted = Fraction(ratios[name]) * size[name] if ratios else 0
        return rank / wanted if wanted else math.inf

    order = []
    for name, own in scores.items():
        values, best = own.tolist(), int(own.argmax())
        going = sorted((value, i) for i, value in enumerate(values) if i != best)
        for rank, (value, i) in zip(range(len(values), 1, -1), going, strict=True):
            order.append((-share(name, rank) if ratios else value, place[name], -rank, name, i))
    return [(name, i) for *_, name, i in sorted(order)]
