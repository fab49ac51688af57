"""Which method is best, and whether that can be told from chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from orchestrator.report.bootstrap import bootstrap
from orchestrator.report.cells import Network, removed
from orchestrator.report.statistics import LEVEL, Difference, holm, paired

METRIC = "accuracy/test"
HEAD = (
    "the best", "minus", "removed", "difference, points", "bootstrap 95 %", "effect size", "p", "p by Holm", "verdict",
)  # fmt: skip
"""Of the table of comparisons, whose rows are of `row`."""
LEFT = (1, 8)
"""Its columns of words."""
NOTE = (
    "Bootstrap: percentiles of the mean of resampled seeds; too narrow for few seeds, so verdicts are those of the t "
    "test. Effect size: the mean difference in standard deviations of the paired differences (Cohen's d_z, with "
    "Hedges' correction); none for fewer than three seeds."
)
"""What the columns mean."""


@dataclass(frozen=True)
class Comparison:
    """Two methods at one sparsity of one network: percentage points of test accuracy."""

    better: str
    """The one with the higher mean."""
    other: str
    sparsity: float
    difference: Difference
    adjusted: float | None = None
    """Holm's p value over all comparisons of its family; None where the test says nothing."""

    @property
    def verdict(self) -> str:
        """In words."""
        found = self.difference.estimate
        if found is None:
            return "no seed in common: nothing can be concluded"
        if found.seeds == 1:
            return "one seed: nothing can be concluded"
        if self.difference.p is None:
            return "the same difference for every seed: no interval can be had"
        return "differs" if self.adjusted is not None and self.adjusted < LEVEL else "not told apart"


def comparisons(network: Network, sparsity: float) -> list[Comparison]:
    """The best method at a sparsity against every other, best first. The family that Holm's correction covers is all
    pairs at that sparsity, because the best one was chosen by these very numbers."""
    return ranked({label: network.at(label, sparsity).values(METRIC, 100) for label in network.labels}, sparsity)


def ranked(values: Mapping[str, Mapping[int, float]], sparsity: float) -> list[Comparison]:
    """The best of several (name -> seed -> value) against every other, best first, corrected over all pairs. Names of
    equal means stay in the order given."""
    means = {label: sum(own.values()) / len(own) for label, own in values.items() if own}
    order = sorted(means, key=lambda label: -means[label])
    pairs = [
        Comparison(better, other, sparsity, paired(values[better], values[other]))
        for better, other in combinations(order, 2)
    ]
    return [pair for pair in corrected(pairs) if pair.better == order[0]]


def against_dense(network: Network) -> list[Comparison]:
    """The dense network against every ticket type at every sparsity; Holm's correction covers all of them. Empty
    where no method's trials are at sparsity 0."""
    whole = [label for label in network.labels if (label, 0.0) in network.cells]
    if not whole:
        return []
    dense = network.at(whole[0], 0.0).values(METRIC, 100)
    pairs = [
        Comparison(whole[0], label, sparsity, paired(dense, network.at(label, sparsity).values(METRIC, 100)))
        for label in network.labels
        for sparsity in network.sparsities
        if sparsity > 0 and network.at(label, sparsity).values(METRIC)
    ]
    return corrected(pairs)


def corrected(pairs: list[Comparison]) -> list[Comparison]:
    """The comparisons of one family with Holm's p values over all of them."""
    tested = [i for i, pair in enumerate(pairs) if pair.difference.p is not None]
    adjusted = holm([p for pair in pairs if (p := pair.difference.p) is not None])
    by_place = dict(zip(tested, adjusted, strict=True))
    return [replace(pair, adjusted=by_place.get(i)) for i, pair in enumerate(pairs)]


def row(pair: Comparison) -> list[str]:
    """A comparison as texts under HEAD: who, minus whom, the sparsity, the difference in points with its t interval,
    the bootstrap interval, the effect size, p, p by Holm, the verdict."""
    found = pair.difference
    interval = bootstrap(found.pairs)
    return [
        pair.better, pair.other, removed(pair.sparsity), points(found),
        "" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}",
        "" if found.effect is None else f"{found.effect:+.2f}",
        *("" if p is None else f"{p:.2g}" for p in (found.p, pair.adjusted)), pair.verdict,
    ]  # fmt: skip


def points(difference: Difference, plus_minus: str = "±") -> str:
    """A difference with its sign, the half-width of its interval and the seeds; nothing where there is none."""
    found = difference.estimate
    if found is None:
        return ""
    interval = "" if found.half_width is None else f" {plus_minus} {found.half_width:.2f}"
    return f"{round(found.mean, 2) + 0.0:+.2f}{interval} ({found.seeds})"  # no -0.00


def sentence(pairs: list[Comparison]) -> str:
    """What the comparisons at one sparsity amount to."""
    if not pairs:
        return "one method alone: nothing to compare"
    best = pairs[0].better
    apart = [pair.other for pair in pairs if pair.verdict == "differs"]
    unknown = {pair.verdict for pair in pairs if "nothing can be concluded" in pair.verdict}
    if len(unknown) == 1 and all("nothing can be concluded" in pair.verdict for pair in pairs):
        return f"{best} has the highest mean; {unknown.pop()}"
    if len(apart) == len(pairs):
        return f"{best} is best: ahead of every other method"
    others = ", ".join(pair.other for pair in pairs if pair.other not in apart)
    ahead = f"ahead of {', '.join(apart)}; " if apart else ""
    return f"{best} has the highest mean; {ahead}not told apart from {others}"
