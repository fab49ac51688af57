"""Whether a ticket suffers when something is destroyed: tests of a difference, and of there being none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.report.statistics import LEVEL, Estimate, estimate

MOST_SEEDS = 1000
"""More are not counted."""


@dataclass(frozen=True)
class Verdict:
    """What paired seeds say of a sanity check: the ticket as it is minus the checked one, in percentage points."""

    difference: Estimate | None
    """None where they have no seed in common."""
    margin: float
    p: float | None
    """The larger p value of the two one-sided tests that the difference lies within the margin; None where they say
    nothing: fewer than two seeds, or the same difference for every seed."""
    word: str
    """fails: equivalent, so the method does not use what the check destroys; passes: worse once it is destroyed;
    better without; undecided."""
    further: int | None = None
    """Seeds more, with which this mean and deviation would decide; None where decided, where one seed tells no
    deviation, or where it takes more than 1,000."""


def judged(as_is: Mapping[int, float], checked: Mapping[int, float], margin: float) -> Verdict:
    """Judge a check from values by seed (percentage points). *fails* where two one-sided paired t tests (Schuirmann,
    Journal of Pharmacokinetics and Biopharmaceutics 1987) at 5 % each say that the difference is within the margin;
    else *passes* or *better without* where the 95 % interval lies on one side of zero; else undecided. Where every
    seed has the same difference there is nothing to test, and its size alone decides."""
    differences = [as_is[seed] - checked[seed] for seed in sorted(as_is.keys() & checked.keys())]
    if not differences:
        return Verdict(None, margin, None, "undecided")
    found = estimate(differences)
    if found.half_width is None:
        return Verdict(found, margin, None, "undecided")
    deviation = _deviation(differences, found.mean)
    if deviation <= 1e-9:  # accuracy comes in steps of one image: equal differences differ by rounding alone
        return Verdict(found, margin, None, _word(abs(found.mean) < margin, found.mean, abs(found.mean) > 1e-9))
    n = found.seeds
    p = _p_within(found.mean, deviation, n, margin)
    word = _word(p < LEVEL, found.mean, abs(found.mean) > found.half_width)
    further = _further(found.mean, deviation, n, margin) if word == "undecided" else None
    return Verdict(found, margin, p, word, further)


def _word(equivalent: bool, mean: float, apart: bool) -> str:
    if equivalent:
        return "fails"
    return "undecided" if not apart else "passes" if mean > 0 else "better without"


def _deviation(values: list[float], mean: float) -> float:
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _p_within(mean: float, deviation: float, n: int, margin: float) -> float:
    from scipy.special import stdtr  # scipy takes a while to load

    error = deviation / math.sqrt(n)
    above, below = stdtr(n - 1, -(mean + margin) / error), stdtr(n - 1, (mean - margin) / error)
    return float(max(above, below))


def _further(mean: float, deviation: float, n: int, margin: float) -> int | None:
    from scipy.special import stdtrit

    for more in range(1, MOST_SEEDS + 1):
        error = deviation / math.sqrt(n + more)
        within = abs(mean) + stdtrit(n + more - 1, 1 - LEVEL) * error < margin
        if within or abs(mean) > stdtrit(n + more - 1, 1 - LEVEL / 2) * error:
            return more
    return None
