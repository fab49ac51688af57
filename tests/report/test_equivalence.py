"""Sanity checks judged: against scipy's tests, at the edges, and how many more seeds would decide."""

from __future__ import annotations

import math

import pytest
from reports import result
from scipy import stats

from orchestrator.report import plasticity, sanity
from orchestrator.report.equivalence import judged
from orchestrator.report.page import _sweep
from orchestrator.report.place import Place
from orchestrator.report.sweeps import Sweep
from orchestrator.report.text import latex, markdown


def _of(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ((0.1, -0.1, 0.2, 0.0, -0.2, 0.1), "fails"),
        ((0.3, 0.25, 0.35, 0.3, 0.28), "fails"),  # told apart from zero, and within the margin all the same
        ((1.1, 0.9, 1.4, 1.0, 1.2), "passes"),
        ((-1.1, -0.9, -1.4, -1.0, -1.2), "better without"),
        ((1.5, -1.0, 0.4, 0.9, -0.8), "undecided"),
    ],
)
def test_verdicts_are_those_of_scipys_tests(differences: tuple[float, ...], word: str) -> None:
    found = judged(_of(*(90 + d for d in differences)), _of(*[90.0] * len(differences)), 0.5)
    assert found.word == word
    above = stats.ttest_1samp(differences, -0.5, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.5, alternative="less").pvalue
    assert found.p == pytest.approx(max(above, below))
    assert (found.p < 0.05) == (word == "fails")
    assert found.difference is not None
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.difference.half_width == pytest.approx((high - low) / 2)
    assert (found.further is not None) == (word == "undecided")


def test_the_seeds_that_would_decide_are_the_least_that_do() -> None:
    differences = (1.5, -1.0, 0.4, 0.9, -0.8)
    found = judged(_of(*differences), _of(*[0.0] * 5), 0.5)
    mean, deviation = sum(differences) / 5, stats.tstd(differences)

    def decides(n: int) -> bool:
        error = deviation / math.sqrt(n)
        within = abs(mean) + stats.t.ppf(0.95, n - 1) * error < 0.5
        return within or abs(mean) > stats.t.ppf(0.975, n - 1) * error

    assert found.further is not None
    assert decides(5 + found.further)
    assert not any(decides(n) for n in range(5, 5 + found.further))


def test_a_difference_that_takes_more_seeds_than_are_counted() -> None:
    values = tuple(0.0001 + (50 if i % 2 else -50) for i in range(6))
    assert judged(_of(*values), _of(*[0.0] * 6), 0.5).further is None


def test_equal_differences_are_judged_by_their_size() -> None:
    for difference, word in ((0.25, "fails"), (0.0, "fails"), (0.75, "passes"), (-0.75, "better without")):
        found = judged(_of(90 + difference, 91 + difference), _of(90.0, 91.0), 0.5)
        assert (found.word, found.p, found.further) == (word, None, None)
        assert sanity.said(found) == f"{word} (the same difference for every seed)"


def test_without_pairs_nothing_is_decided() -> None:
    assert sanity.said(judged({0: 90.0}, {1: 90.0}, 0.5)) == "undecided: no seed in common"
    assert sanity.said(judged({0: 90.0, 1: 91}, {1: 90.0}, 0.5)) == "undecided: one seed"


def _results() -> list[dict]:
    as_is, checked = (0.90, 0.91, 0.92, 0.90), (0.90, 0.912, 0.918, 0.901)
    made = [result("snip", 0.9, seed, value, arm="snip", check=None) for seed, value in enumerate(as_is)]
    made += [
        result("snip+rearrange", 0.9, seed, value, arm="snip", check="rearrange", method="snip")
        for seed, value in enumerate(checked)
    ]
    return [*made, result("snip+rearrange", 0.9, 4, None, arm="snip", check="rearrange", method="snip")]


def test_the_table_pairs_an_arm_with_its_checks() -> None:
    (row,) = sanity.checked(_results(), 0.5)
    assert (row.arm, row.check, row.sparsity, row.verdict.word) == ("snip", "rearrange", 0.9, "fails")
    (texts,) = sanity.table([row])
    assert texts[:5] == ["net", "snip", "90 % removed", "rearrange", "90.75 ± 1.52 (4)"]
    assert texts[5].endswith("1 diverged")
    assert texts[6].startswith("-0.03 ± ")
    assert texts[8] == "fails"
    (strict,) = sanity.checked(_results(), 0.01)
    assert strict.verdict.word == "undecided"


def test_checked_arms_are_in_no_comparison_of_methods_but_in_a_table_of_their_own() -> None:
    text = markdown(_results())
    comparison, checks = text.split("### sanity checks")
    assert "rearrange" not in comparison
    assert "| net | snip | 90 % removed | rearrange | 90.75 ± 1.52 (4) |" in checks
    assert "within 0.5 points" in checks
    assert "$\\pm$ 1.52 (4)" in latex(_results())
    assert "sanity checks" not in markdown(_results()[:4])


def test_the_margin_is_the_specs() -> None:
    assert sanity.margin_of("") == sanity.margin_of("name: x") == sanity.margin_of("sanity: {}") == 0.5
    assert sanity.margin_of("sanity: {margin: 0.2}") == 0.2


def test_plasticity_is_what_is_won_back() -> None:
    options = {"epochs": 2, "criterion": "magnitude", "scope": "global", "regenerate": "none"}

    def trial(at: str, seed: int, before: float, after: float, **changes: object) -> dict:
        made = result("plasticity", 0.5, seed, after, options={**options, "at": at, **changes})
        when = float(at[:-2]) / (25 if at.endswith("it") else 1)
        made["metrics"] |= {"accuracy/before": before, "cost/epochs": when + made["options"]["epochs"]}
        return made

    trials = [trial("250it", 0, 0.9, 0.88), trial("2ep", 0, 0.5, 0.6), trial("2ep", 1, 0.5, 0.64),
              trial("2ep", 0, 0.5, 0.7, regenerate="gradient")]  # fmt: skip
    found = plasticity.points(trials)
    assert [(p.at, p.way, round(p.plasticity.mean, 6), p.plasticity.seeds) for p in found] == [
        ("2ep", "magnitude, global", 12, 2),
        ("250it", "magnitude, global", -2, 1),
        ("2ep", "magnitude, global, regenerated by gradient", 20, 1),
    ]
    drawn = plasticity.figure(found)
    assert [trace["x"] for trace in drawn["data"]] == [[2.0, 10.0], [2.0]]
    assert drawn["layout"]["xaxis"]["title"]["text"] == "epoch of pruning"
    other = plasticity.figure([*found, *plasticity.points([trial("4ep", 0, 0.5, 0.7, epochs=7)])])
    assert [trace["x"] for trace in other["data"]] == [[2.0, 10.0], [2.0], [4.0]], "another k is another line"
    assert plasticity.table(found)[1][5:] == ["90.00 (1)", "88.00 (1)", "-2.00 (1)"]
    assert "plasticity" not in markdown(trials)


def test_a_page_shows_checks_plasticity_and_what_structure_reached() -> None:

    structural = result("layer_prune", 0.3, 0, 0.8, options={"target": "latency", "latency_batch": None})
    structural["metrics"] |= {"latency/speedup/b1": 1.6, "macs/speedup": 2.0, "sparsity/global": 0.4}
    pruned = result("plasticity", 0.5, 0, 0.8, options={
        "at": "2ep", "epochs": 1, "criterion": "random", "scope": "global", "regenerate": "none",
    })  # fmt: skip
    pruned["metrics"]["accuracy/before"] = 0.7
    page = "\n".join(_sweep(Sweep("x", "sanity: {margin: 2}", [*_results(), structural, pruned], []), Place()))
    assert ">Sanity checks</h2>" in page
    assert "within 2 points" in page
    assert ">Pruning plasticity</h2>" in page
    assert "30 % of latency" in page
    assert "62.5 % (batch 1)" in page
    assert "50.0 %" in page
    assert '<a class="alike" href="#trial-net_plasticity_s0.5_seed0">10.00 (1)</a>' in page, "linked to its trials"
