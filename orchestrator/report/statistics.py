"""Means, paired differences, and what may be concluded from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.engine.estimates import Estimate, estimate, standard_error

LEVEL = 0.05
"""Of significance, after Holm's correction."""
NOTHING = 1e-12
"""Equal accuracies differ by rounding, to a computer: what varies by less than this does not vary."""


@dataclass(frozen=True)
class Difference:
    """One method's mean minus another's, over the seeds that both have."""

    estimate: Estimate | None
    """None where they have no seed in common."""
    p: float | None
    """Of a two-sided paired t test; None where it says nothing: fewer than two pairs, or differences that do not
    vary at all (accuracy comes in steps of one image), unless all are zero."""
    pairs: tuple[float, ...] = field(default=(), repr=False)
    """The differences themselves, by ascending seed."""

    @property
    def effect(self) -> float | None:
        """How large the difference is beside what seeds do to it; see `effect_size`."""
        return effect_size(self.pairs)


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Difference:
    """The difference of two methods that were run with the same seeds (seed -> value), pair by pair: what a seed does
    to both cancels. Seeds that only one has (the other diverged, or was not run) are left out."""
    differences = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
    if not differences:
        return Difference(None, None)
    found = estimate(differences)
    if len(differences) < 2:
        return Difference(found, None, tuple(differences))
    error = standard_error(differences, found.mean)
    if error <= NOTHING:
        return Difference(found, 1.0 if abs(found.mean) <= NOTHING else None, tuple(differences))
    from scipy.special import stdtr

    p = 2 * float(stdtr(len(differences) - 1, -abs(found.mean) / error))
    return Difference(found, p, tuple(differences))


def effect_size(differences: Sequence[float]) -> float | None:
    """Cohen's d_z with Hedges' correction: J d_z, d_z = mean / standard deviation of the paired differences (Cohen,
    Statistical Power Analysis, 1988, section 2.3.5; Lakens, Frontiers in Psychology 4:863, 2013). With m = n - 1
    degrees of freedom J = gamma(m / 2) / (sqrt(m / 2) gamma((m - 1) / 2)) takes out what few pairs overestimate
    (Hedges, Journal of Educational Statistics 6, 1981). None for fewer than three pairs, of which the correction
    leaves nothing, and where the differences do not vary."""
    n = len(differences)
    if n < 3:
        return None
    mean = math.fsum(differences) / n
    error = standard_error(differences, mean)
    if error <= NOTHING:
        return None
    half = (n - 1) / 2
    correction = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
    return correction * mean / (error * math.sqrt(n))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for testing several hypotheses at once (Holm, Scandinavian Journal of Statistics
    1979): the i-th smallest of m p values is multiplied by m - i + 1, made monotone and cut at 1. Rejecting those
    below 0.05 errs in any of them with a probability of at most 0.05."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
