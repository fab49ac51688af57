"""What the cheap rungs of a search have cost, and whether they rank trials as full training does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any


def rungs(results: Sequence[Mapping[str, Any]], epochs: Sequence[float]) -> dict[str, Any]:
    """Of each rung, by its epochs, the last of which is the whole training: how many proposals reached it, how many
    were stopped there, the epochs spent on the way from the rung before; and Spearman's rank correlation of validation
    accuracy between every two rungs, over the proposals that reached both (None of fewer than three, or where all are
    alike)."""
    ways = [_way(result) for result in results]
    dropped = [way for way, result in zip(ways, results, strict=True) if result["status"] == "dropped"]
    spent = [after - before for before, after in pairwise([0.0, *epochs])]
    table = []
    for i, at in enumerate(epochs):
        reached = sum(len(way) > i for way in ways)
        stopped = sum(len(way) == i + 1 for way in dropped)
        table.append({"epochs": at, "reached": reached, "stopped": stopped, "epochs_spent": reached * spent[i]})
    matrix = [[_both(ways, i, j) for j in range(len(epochs))] for i in range(len(epochs))]
    return {"rungs": table, "rank_correlation": matrix}


def _way(result: Mapping[str, Any]) -> list[float]:
    """Validation accuracies of a proposal at the rungs and, if it came so far, at the end."""
    end = result["metrics"].get("accuracy/val")
    return [rung["accuracy"] for rung in result["rungs"]] + (
        [end] if result["status"] == "done" and end is not None else []
    )


def _both(ways: Sequence[Sequence[float]], i: int, j: int) -> float | None:
    pairs = [(way[i], way[j]) for way in ways if len(way) > max(i, j)]
    if len(pairs) < 3:
        return None
    return spearman([a for a, _ in pairs], [b for _, b in pairs])


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's correlation of the ranks, equal values sharing the mean of theirs; None where all of one are equal."""
    a, b = _ranks(one), _ranks(other)
    middle = (len(a) + 1) / 2
    across = math.fsum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True))
    spread = math.sqrt(math.fsum((x - middle) ** 2 for x in a) * math.fsum((y - middle) ** 2 for y in b))
    return across / spread if spread else None


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]
