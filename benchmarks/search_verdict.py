"""What a task of `benchmarks/search.py` shows: the winners, their intervals, hypervolumes, the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.report.statistics import Estimate, estimate, paired
from orchestrator.sweep.choosing import hypervolume

ARMS = {"a": "Jackpot", "b": "OptunaSearch, penalty", "c": "random on the simplex"}
FORMULA, HARDEST = "d", "best on test"
REFERENCE = (0.8, 0.13)
"""Of the hypervolume: accuracy, and MACs over the dense network's. No ticket of the task pareto needs more: its 308
weights are used at most 64 times each, of the dense network's 152,384."""


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return math.fsum(values) / len(values)


def front(found: Sequence[Mapping[str, Any]], without: int | None = None) -> float:
    """Hypervolume of ratios by their mean test accuracy on the fresh seeds, one of them left out if asked."""
    means = [mean([own for seed, own in enumerate(each["test"]) if seed != without]) for each in found]
    points = {n: (own, each["macs"]) for n, (own, each) in enumerate(zip(means, found, strict=True))}
    return hypervolume(points, [True, False], REFERENCE)


def jackknifed(searches: Sequence[Sequence[Mapping[str, Any]]], seeds: int) -> list[float]:
    """Of each fresh seed what it adds to the hypervolume, the mean over searches: the pseudo-values whose mean and
    spread estimate it (Tukey, Annals of Mathematical Statistics 1958). The hypervolume of single seeds would count
    noise as gain."""
    values = [[seeds * front(own) - (seeds - 1) * front(own, without) for own in searches] for without in range(seeds)]
    return [mean(own) for own in values]


def judge(found: dict[str, Any]) -> dict[str, Any]:
    """The winners, and how they compare on test: of each arm the mean with its interval and (a) - arm, paired by fresh
    seed, in percentage points."""
    seeds, tests, winners = found["fresh_seeds"], {}, {}
    for arm, searches in found["finalists"].items():
        won = [max(each, key=lambda own: mean(own["val"])) for each in searches]
        winners[arm] = [own["counts"] for own in won]
        tests[arm] = [100 * mean(own) for own in zip(*(each["test"] for each in won), strict=True)]
    for arm, name in ((FORMULA, "val"), (HARDEST, "test")):
        winners[arm] = max(found["formulas"], key=lambda formula: mean(found["formulas"][formula][name]))
        tests[arm] = [100 * own for own in found["formulas"][winners[arm]]["test"]]
    pairs = {arm: dict(zip(seeds, own, strict=True)) for arm, own in tests.items()}
    two = len(found["spec"]["search"]["objectives"]) == 2
    return {
        "winners": winners,
        "test": {arm: asdict(estimate(own)) for arm, own in tests.items()},
        "ahead": {arm: asdict(paired(pairs["a"], own).estimate) for arm, own in pairs.items() if arm != "a"},
        **(fronts(found) if two else {}),
    }


def fronts(found: dict[str, Any]) -> dict[str, Any]:
    """Hypervolume of the finalists of each search, and of all formulas together; (a) - arm with its interval, paired
    by fresh seed."""
    arms = found["finalists"] | {FORMULA: [list(found["formulas"].values())]}
    seeds = found["fresh_seeds"]
    pseudo = {arm: dict(zip(seeds, jackknifed(own, len(seeds)), strict=True)) for arm, own in arms.items()}
    return {
        "hypervolume_fresh": {arm: [front(each) for each in own] for arm, own in arms.items()},
        "hypervolume_ahead": {
            arm: asdict(paired(pseudo["a"], own).estimate) for arm, own in pseudo.items() if arm != "a"
        },
    }


def show(found: dict[str, Any], verdict: dict[str, Any], console: Console) -> None:
    """Print a task's table."""
    two, trials = "hypervolume_fresh" in verdict, found["spec"]["search"]["trials"]
    ends = sorted({end for end in (10, 20, 40, 60, trials) if end <= trials})
    columns = ["test %", "(a) - arm", *(f"after {end}" for end in ends)]
    columns += ["hypervolume, search", "finalists", "(a) - arm"] if two else []
    searched = f"{found['spec']['search']['space']['name']}, {found['spec']['search']['sampler']['name']}"
    table = Table(
        title=f"{found['task']}: {len(found['curves']['a'])} search seeds of {trials} trials, "
        f"{len(found['fresh_seeds'])} fresh seeds; (a) {searched}; first {', '.join(found['warm_starts'])}"
    )
    table.add_column("arm")
    for name in [*columns, "trials' s"]:
        table.add_column(name, justify="right")
    formula, hardest = verdict["winners"][FORMULA], verdict["winners"][HARDEST]
    rows = ARMS | {FORMULA: f"best formula: {formula}", HARDEST: f"best formula on test: {hardest}"}
    for arm, name in rows.items():
        cells = [interval(verdict["test"][arm]), interval(verdict["ahead"].get(arm), "+")]
        curves = found["curves"].get(arm, [])
        cells += [f"{mean([own[end - 1] for own in curves]):.4f}" if curves else "" for end in ends]
        if two:
            cells += [spread([own[-1] for own in curves]), spread(verdict["hypervolume_fresh"].get(arm, []))]
            cells.append(interval(verdict["hypervolume_ahead"].get(arm), "+", 4))
        searches = found["searches"].get(arm, [])
        cells.append(f"{mean([math.fsum(p['seconds'] for p in each) for each in searches]):.0f}" if searches else "")
        table.add_row(f"({arm}) {name}" if arm != HARDEST else name, *cells)
    console.print(table)
    best_so_far = f"hypervolume over accuracy {REFERENCE[0]:g} and {REFERENCE[1]:g} of the dense network's MACs"
    console.print(
        f"test: the winners' mean on the fresh seeds, and (a) - arm paired by seed in points, each ± 95 %. after n: "
        f"{best_so_far if two else 'best validation accuracy (less the penalty)'} of n proposals, mean over search "
        f"seeds. Spreads: mean [least, most] over search seeds.",
        markup=False,
    )


def interval(said: Mapping[str, Any] | None, sign: str = "", digits: int = 2) -> str:
    """A mean with its 95 % interval."""
    if said is None:
        return ""
    own = Estimate(**said)
    return f"{own.mean:{sign}.{digits}f}" + (f" ± {own.half_width:.{digits}f}" if own.half_width is not None else "")


def spread(values: Sequence[float]) -> str:
    """A mean, and the least and the most where there are several."""
    if not values:
        return ""
    return f"{mean(values):.4f}" + (f" [{min(values):.4f}, {max(values):.4f}]" if len(values) > 1 else "")
