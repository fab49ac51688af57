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


def best(
    values: Values, ups: Sequence[bool], ties: Mapping[int, float], count: int, reference: Sequence[float] = ()
) -> list[int]:
    """The `count` best proposals, the best first. With one objective by its value, then by `ties` (less is better: the
    validation loss, which tells apart what accuracy counts as equal), then the earliest. With two objectives one after
    another the one of the Pareto set that adds most to the area over the `reference`, the earliest of equals: a point
    that is good in one objective alone, and worthless in the other, adds nothing and is not among them."""
    if len(ups) == 1:
        ranked = sorted(values, key=lambda n: (*(-x for x in signed(values[n], ups)), ties.get(n, 0.0), n))
        return ranked[:count]
    chosen: dict[int, tuple[float, ...]] = {}
    left, area = sorted(pareto(values, ups)), 0.0
    while left and len(chosen) < count:
        areas = {number: hypervolume({**chosen, number: values[number]}, ups, reference) for number in left}
        number = max(left, key=lambda number: areas[number])
        if areas[number] <= area and chosen:
            break
        chosen[number], area = values[number], areas[number]
        left.remove(number)
    return list(chosen)


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
