"""What may be said of which method is best."""

import pytest
from reports import sweep
from scipy import stats

from orchestrator.engine.speed import verdict
from orchestrator.report.cells import networks
from orchestrator.report.figures import pareto
from orchestrator.report.text import latex, markdown
from orchestrator.report.verdicts import HEAD, LEFT, against_dense, comparisons, row, sentence

APART = {
    ("dense", 0.0): [0.990, 0.991, 0.992],
    ("good", 0.9): [0.950, 0.952, 0.951],
    ("twin", 0.9): [0.951, 0.951, 0.9505],
    ("poor", 0.9): [0.801, 0.800, 0.799],
}


def test_the_best_is_compared_with_every_other_and_holm_covers_all_pairs() -> None:
    (network,) = networks(sweep(APART))
    pairs = comparisons(network, 0.9)
    assert [(pair.better, pair.other, pair.verdict) for pair in pairs] == [
        ("good", "twin", "not told apart"),
        ("good", "poor", "differs"),
    ]
    p = stats.ttest_rel(APART["good", 0.9], APART["poor", 0.9]).pvalue
    rival = stats.ttest_rel(APART["twin", 0.9], APART["poor", 0.9]).pvalue
    assert pairs[1].difference.p == pytest.approx(p)
    assert pairs[1].adjusted == pytest.approx(3 * p if p < rival else max(3 * rival, 2 * p))
    assert pairs[1].difference.estimate.mean == pytest.approx(15.1)
    assert sentence(pairs) == "good has the highest mean; ahead of poor; not told apart from twin"


def test_what_a_ticket_loses_against_dense() -> None:
    (network,) = networks(sweep(APART))
    found = {pair.other: (pair.better, round(pair.difference.estimate.mean, 2)) for pair in against_dense(network)}
    assert found == {"good": ("dense", 4.0), "poor": ("dense", 19.1), "twin": ("dense", 4.02)}
    (without,) = networks(sweep({key: values for key, values in APART.items() if key[1]}))
    assert against_dense(without) == []


def test_a_row_shows_the_bootstrap_and_the_effect_size() -> None:
    rows = sweep({("a", 0.9): [0.91, 0.92, 0.93], ("b", 0.9): [0.90, 0.90, 0.90], ("c", 0.9): [0.1]})
    (network,) = networks(rows)
    first, second = map(row, comparisons(network, 0.9))
    assert len(first) == len(second) == len(HEAD)
    # differences 1, 2, 3: deviation 1, so d_z is 2, times 1 / sqrt(pi)
    assert first[3:6] == ["+2.00 ± 2.48 (3)", "+1.00 to +3.00", "+1.13"]
    assert second[3:] == ["+81.00 (1)", "", "", "", "", "one seed: nothing can be concluded"]
    assert [HEAD[i] for i in LEFT] == ["minus", "verdict"]


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ({("a", 0.9): [0.9], ("b", 0.9): [0.1]}, "a has the highest mean; one seed: nothing can be concluded"),
        ({("a", 0.9): [0.9, None], ("b", 0.9): [None, 0.1]},
         "a has the highest mean; no seed in common: nothing can be concluded"),
        ({("a", 0.9): [0.9, 0.8]}, "one method alone: nothing to compare"),
        ({("a", 0.9): [None]}, "one method alone: nothing to compare"),
        ({("a", 0.9): [0.9, 0.91, 0.92], ("b", 0.9): [0.1, 0.12, 0.11]}, "a is best: ahead of every other method"),
        ({("a", 0.9): [0.75, 0.5], ("b", 0.9): [0.5, 0.25]}, "a has the highest mean; not told apart from b"),
    ],
)  # fmt: skip
def test_the_sentence(accuracies: dict, said: str) -> None:
    (network,) = networks(sweep(accuracies))
    assert sentence(comparisons(network, 0.9)) == said


def test_the_pareto_front() -> None:
    points = [(2.0, 90.0), (1.0, 80.0), (1.0, 85.0), (3.0, 90.0), (4.0, 95.0), (2.0, 70.0)]
    assert pareto(points) == [(1.0, 85.0), (2.0, 90.0), (4.0, 95.0)]


@pytest.mark.parametrize(
    ("interval", "control", "noisy", "said"),
    [
        ([1.0, 1.0], [0.99, 1.01], False, "as dense"),
        ([1.02, 1.05], [0.99, 1.01], False, "faster"),
        ([1.005, 1.05], [0.99, 1.01], False, "not told apart from dense"),
        ([0.7, 0.8], [0.99, 1.01], False, "slower"),
        ([1.5, 2.0], [0.8, 1.2], True, "faster, but noisy: the system tells of no reason"),
    ],
)
def test_a_speed_up_counts_outside_the_controls_interval(
    interval: list[float], control: list[float], noisy: bool, said: str
) -> None:
    record = {"interval": interval, "control": {"interval": control}, "noisy": noisy}
    assert verdict(record) == said


def test_as_text() -> None:
    rows = sweep({("dense", 0.0): [0.99, 0.98], ("a_b", 0.9): [0.9, 0.8], ("c|d", 0.9): [0.7, 0.75]})
    shown = markdown(rows)
    assert "| method | dense | 90 % removed |" in shown
    assert "| a\\_b |  | 85.00 ± 63.53 (2) |" in shown
    assert "| c\\|d |  | 72.50 ± 31.77 (2) |" in shown
    assert "- 90 % removed: a\\_b has the highest mean; not told apart from c\\|d" in shown
    assert "- 90 % removed: a\\_b 85.00 ± 63.53 % (2 seeds); +12.50 ± 95.30 points over c\\|d, not told apart" in shown
    shown = latex(rows)
    assert "\\begin{tabular}{lrr}" in shown
    assert "method & dense & 90 \\% removed \\\\" in shown
    assert "a\\_b &  & 85.00 $\\pm$ 63.53 (2) \\\\" in shown
    assert "% 90 % removed: a_b has the highest mean; not told apart from c|d" in shown
