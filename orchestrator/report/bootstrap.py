"""The bootstrap interval of a mean: exact for few values, by seeded draws for more."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement

from orchestrator.report.statistics import LEVEL, NOTHING

EXACT = 7
"""Up to so many values all n^n resamples are counted: 1,716 different ones of seven."""
DRAWS = 10_000
PURPOSE = "bootstrap of a mean paired difference"
"""What the draws are seeded from, with the number of values: the same data have the same interval anywhere."""


def bootstrap(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of the mean (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13), in the unit of the values: the least mean of a resample that at least 2.5 % of the resamples reach or
    stay below, and the greatest that as many reach or exceed. None for fewer than two values, and for values that do
    not vary: resampling them says nothing.

    Of few seeds it is too narrow: a resample varies by (n - 1) / n of the variance, and never leaves the range of the
    values, so that three seeds are covered in far less than 95 % of cases. It assumes no distribution, and is shown
    beside the t interval for that reason; the verdict stays with the t test."""
    if len(values) < 2 or max(values) - min(values) <= NOTHING:
        return None
    weighted = _all_means(values) if len(values) <= EXACT else _drawn_means(values)
    return _reached(weighted), _reached(weighted[::-1])


def _all_means(values: Sequence[float]) -> list[tuple[float, float]]:
    """Every mean of a resample with its probability, ascending: as many draws of each value as a multinomial has."""
    n = len(values)
    found = []
    for resample in combinations_with_replacement(sorted(range(n), key=lambda i: values[i]), n):
        ways = math.factorial(n) // math.prod(math.factorial(count) for count in Counter(resample).values())
        found.append((math.fsum(values[i] for i in resample) / n, ways / n**n))
    return sorted(found)


def _drawn_means(values: Sequence[float]) -> list[tuple[float, float]]:
    import numpy as np

    n = len(values)
    seed = int.from_bytes(hashlib.sha256(f"{PURPOSE}/{n}".encode()).digest()[:8], "big")
    # sorted: the interval is of the values, whatever their order
    means = np.sort(np.random.default_rng(seed).choice(np.sort(values), (DRAWS, n)).mean(axis=1))
    return [(float(mean), 1 / DRAWS) for mean in means]


def _reached(weighted: Sequence[tuple[float, float]]) -> float:
    """The first mean, from one end, at which the probabilities add up to half of LEVEL."""
    tail = 0.0
    for mean, probability in weighted:
        tail += probability
        if tail >= LEVEL / 2 - 1e-12:
            return mean
    raise AssertionError  # they add up to 1
