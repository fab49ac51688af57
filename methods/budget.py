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
    """Whole counts that add up to `budget`, each within one of its exact value and at most its cap, by largest
    remainder (ties: the earlier layer). The exact values must add up to the budget, within their caps.
    Raises ValueError where they do not."""
    counts = [min(int(value), cap) for value, cap in zip(exact, caps, strict=True)]
    missing = budget - sum(counts)
    open_ = [i for i in range(len(counts)) if counts[i] < caps[i]]
    open_.sort(key=lambda i: (-(exact[i] - counts[i]), i))
    if not 0 <= missing <= len(open_):
        raise ValueError(f"cannot share {budget} weights over {len(caps)} layers as asked")
    for i in open_[:missing]:
        counts[i] += 1
    return counts
