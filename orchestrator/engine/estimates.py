"""A mean over seeds, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with the half-width of its 95 % interval (None from a single seed)."""

    mean: float
    half_width: float | None
    seeds: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % t interval of the mean. It covers the noise of training (initialisation, batch order), not
    the choice of data set. Raises ValueError for no values."""
    if not values:
        raise ValueError("an estimate needs at least one value")
    n = len(values)
    if min(values) == max(values):  # what is counted: a sum over n is not always the value, to the last bit
        return Estimate(values[0], 0.0 if n > 1 else None, n)
    mean = math.fsum(values) / n
    from scipy.special import stdtrit  # scipy takes a while to load; its `stats` takes longer

    return Estimate(mean, float(stdtrit(n - 1, 0.975)) * standard_error(values, mean), n)


def standard_error(values: Sequence[float], mean: float) -> float:
    """Of the mean of two values or more."""
    n = len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
