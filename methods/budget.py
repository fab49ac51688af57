"""How many weights a ticket keeps: exact counts, in all and in each layer."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from math import lcm

from methods.layers import Layer


def total(layers: Sequence[Layer]) -> int:
    """Number of prunable weights N."""
    return sum(layer.weights for layer in layers)


def kept(weights: int, sparsity: Decimal) -> int:
    """N - round(p N) weights, exactly, with p taken as a decimal and halves rounded to even."""
    return weights - int((sparsity * weights).quantize(Decimal(1), ROUND_HALF_EVEN))


def share(exact: Sequence[Fraction], caps: Sequence[int], budget: int) -> list[int]:
    """Whole counts that add up to `budget`, each at most its cap and within one of its exact value (more only
    where other layers' caps leave it more), by largest remainder (ties: the earlier layer). Raises ValueError where
    the exact values do not add up to the budget, or the caps hold less."""
    counts = [min(int(value), cap) for value, cap in zip(exact, caps, strict=True)]
    if not (sum(counts) <= budget <= sum(caps) and sum(exact) == budget):
        raise ValueError(f"cannot share {budget} weights over {len(caps)} layers as asked")
    while missing := budget - sum(counts):
        open_ = [i for i in range(len(counts)) if counts[i] < caps[i]]
        open_.sort(key=lambda i: (-(exact[i] - counts[i]), i))
        for i in open_[:missing]:
            counts[i] += 1
    return counts


def project(wanted: Sequence[Fraction], low: Sequence[int], high: Sequence[int], keep: int) -> list[int]:
    """Whole counts that add up to `keep` exactly: t * wanted clipped into [low, high] with the one factor t that meets
    the budget (water filling), rounded by largest remainder as in `share`. Layers that want nothing stay at `low`
    until all others are full; then they take the rest in order. Raises ValueError where the bounds cross or
    cannot hold the budget.

    The clipped sum never falls as t grows. So where the t that suits the layers still free gives too much in all, the
    true t is smaller, and each layer below its lower bound stays there; where it gives too little, the other way."""
    _check_bounds(low, high, keep)
    scale = lcm(*(value.denominator for value in wanted))
    amounts = [value.numerator * (scale // value.denominator) for value in wanted]  # whole numbers: exact, and quick
    counts, free = list(low), [i for i, amount in enumerate(amounts) if amount > 0]
    if sum(low) + sum(high[i] - low[i] for i in free) <= keep:
        for i in free:
            counts[i] = high[i]
        for i in range(len(counts)):
            counts[i] += min(high[i] - counts[i], keep - sum(counts))
        return counts
    left = keep - sum(low) + sum(low[i] for i in free)
    while True:
        top, bottom = left, sum(amounts[i] for i in free)  # t = top / bottom
        lack = {i: short for i in free if (short := low[i] * bottom - amounts[i] * top) > 0}
        excess = {i: over for i in free if (over := amounts[i] * top - high[i] * bottom) > 0}
        if not lack and not excess:
            break
        balance = sum(lack.values()) - sum(excess.values())
        bounds = {i: low[i] for i in lack if balance >= 0} | {i: high[i] for i in excess if balance <= 0}
        for i, bound in bounds.items():
            counts[i] = bound
            left -= bound
        free = [i for i in free if i not in bounds]
        if not free:
            return counts
    for i in free:
        counts[i] = amounts[i] * top // bottom
    free.sort(key=lambda i: (-(amounts[i] * top % bottom), i))
    for i in free[: keep - sum(counts)]:  # never past its cap: each of these is a fraction below a whole number
        counts[i] += 1
    return counts


def _check_bounds(low: Sequence[int], high: Sequence[int], keep: int) -> None:
    for number, (least, most) in enumerate(zip(low, high, strict=True), 1):
        if not 0 <= least <= most:
            raise ValueError(f"layer {number}: expected bounds 0 <= low <= high, got low {least} and high {most}")
    if (over := sum(low) - keep) > 0:
        raise ValueError(f"the lower bounds hold {over} more than the budget of {keep}; lower them, or keep more")
    if (short := keep - sum(high)) > 0:
        raise ValueError(f"the upper bounds hold {short} less than the budget of {keep}; raise them, or keep less")
