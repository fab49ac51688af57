"""Means, paired differences, and what may be concluded from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.engine.estimates import Estimate, estimate, standard_error

LEVEL = 0.05
"""Of significance, after Holm's correction."""


@dataclass(frozen=True)
class Difference:
    """One method's mean minus another's, over the seeds that both have."""

    estimate: Estimate | None
    """None where they have no seed in common."""
    p: float | None
    """Of a two-sided paired t test; None where it says nothing: fewer than two pairs, or differences that do not
    vary at all (accuracy comes in steps of one image), unless all are zero."""


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Difference:
    """The difference of two methods that were run with the same seeds (seed -> value), pair by pair: what a seed does
    to both cancels. Seeds that only one has (the other diverged, or was not run) are left out."""
    differences = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
    if not differences:
        return Difference(None, None)
    found = estimate(differences)
    if len(differences) < 2:
        return Difference(found, None)
    error = standard_error(differences, found.mean)
    # equal accuracies differ by rounding alone: to a computer that is an error, if a tiny one
    if error <= 1e-12:
        return Difference(found, 1.0 if abs(found.mean) <= 1e-12 else None)
    from scipy.special import stdtr

    return Difference(found, 2 * float(stdtr(len(differences) - 1, -abs(found.mean) / error)))


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
