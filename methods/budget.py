"""How many weights a ticket keeps: exact counts, in all and in each layer."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

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
