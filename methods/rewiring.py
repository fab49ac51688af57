"""Death and growth: a sparse network gives up its smallest weights for others while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from methods.bench import Tensors
from methods.masks import keep_largest_per_layer


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """A rate annealed from `start` at step 0 to `end` at step `steps`, along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * step / steps)) / 2


def survivors(weights: Tensors, masks: Tensors, fraction: float, rounded: Callable[[float], int]) -> Tensors:
    """Masks within `masks` without this fraction of each layer's kept weights, `rounded` to a number: those of the
    smallest |w|. Of equal ones the earlier survives. A layer that is full has nothing to exchange, and loses
    none."""
    scores = {name: torch.where(mask, weights[name].abs(), -1.0) for name, mask in masks.items()}
    return keep_largest_per_layer(scores, {name: _left(mask, fraction, rounded) for name, mask in masks.items()})


def _left(mask: torch.Tensor, fraction: float, rounded: Callable[[float], int]) -> int:
    kept = int(mask.sum())
    return kept if kept == mask.numel() else kept - rounded(fraction * kept)


def regrown(masks: Tensors, left: Tensors, scores: Tensors) -> Tensors:
    """`left` and, in each layer, as many more of the largest scores as `masks` keep beyond it: wherever nothing is
    left, what was given up just now included. Scores are not negative; of equal ones the earlier grows."""
    candidates = {name: torch.where(left[name], -1.0, score) for name, score in scores.items()}
    missing = {name: int(mask.sum()) - int(left[name].sum()) for name, mask in masks.items()}
    grown = keep_largest_per_layer(candidates, missing)
    return {name: left[name] | grown[name] for name in masks}


def came_back(before: Tensors, between: Tensors, after: Tensors) -> Tensors:
    """Positions that were kept before and are kept after, and were given up between."""
    return {name: before[name] & ~between[name] & after[name] for name in before}
