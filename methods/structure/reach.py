"""How many units have to go until enough is removed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from methods import budget
from methods.bench import Tensors, Workbench


def fewest(units: int, reached: Callable[[int], bool]) -> int:
    """The least number of units whose removal reaches the target, by halving; all of them where none does."""
    few, many = 0, units
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if reached(middle) else (middle + 1, many)
    return many


def reaches(bench: Workbench, weights: Tensors, target: str, fraction: Decimal) -> bool:
    """Whether at least this fraction of the dense network's prunable weights ("sparsity") or multiply-accumulates
    ("macs") is gone from a network in the shapes of these weights."""
    if target == "macs":
        return Decimal(bench.macs(weights)) <= (1 - fraction) * Decimal(bench.macs(None))
    left = sum(weights[layer.parameter].numel() for layer in bench.layers if layer.parameter in weights)
    return left <= (1 - fraction) * budget.total(bench.layers)
