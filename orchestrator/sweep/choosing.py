"""Which proposals of a search are the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Values = Mapping[int, tuple[float, ...]]
"""Proposal -> its objectives."""


def signed(values: Sequence[float], ups: Sequence[bool]) -> tuple[float, ...]:
    """Objectives turned so that more is better."""
    return tuple(value if up else -value for value, up in zip(values, ups, strict=True))


def pareto(values: Values, ups: Sequence[bool]) -> list[int]:
    """The proposals that no other beats in one objective without being behind it in another, by the first objective,
    the best first; of equals the earliest."""
    found: dict[tuple[float, ...], int] = {}
    turned = {number: signed(own, ups) for number, own in values.items()}
    for number in sorted(turned):
        own = turned[number]
        beaten = any(other != own and all(a >= b for a, b in zip(other, own, strict=True)) for other in turned.values())
        if not beaten:
            found.setdefault(own, number)
    return [found[own] for own in sorted(found, reverse=True)]


def best(values: Values, ups: Sequence[bool], ties: Mapping[int, float], count: int) -> list[int]:
    """The `count` best proposals, the best first. With one objective by its value, then by `ties` (less is better: the
    validation loss, which tells apart what accuracy counts as equal), then the earliest. With two objectives so many
    of the Pareto set, both of its ends among them and the others spread evenly over it."""
    if len(ups) == 1:
        ranked = sorted(values, key=lambda n: (*(-x for x in signed(values[n], ups)), ties.get(n, 0.0), n))
        return ranked[:count]
    front = pareto(values, ups)
    if len(front) <= count or count < 2:
        return front[:count]
    return [front[round(i * (len(front) - 1) / (count - 1))] for i in range(count)]


def hypervolume(values: Values, ups: Sequence[bool], reference: Sequence[float]) -> float:
    """The area that two objectives dominate over a reference point, in the product of their units (Zitzler and Thiele,
    IEEE Transactions on Evolutionary Computation 1999)."""
    corner = signed(reference, ups)
    area, ceiling = 0.0, corner[1]
    for first, second in (signed(values[number], ups) for number in pareto(values, ups)):  # the first one falls
        if first > corner[0] and second > ceiling:
            area += (first - corner[0]) * (second - ceiling)
            ceiling = second
    return area
