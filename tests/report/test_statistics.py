"""Intervals, paired tests and Holm's correction, by hand and against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.report.statistics import effect_size, estimate, holm, paired


def test_an_interval_by_hand() -> None:
    # mean 2, standard deviation 1, of 3: t(0.975, 2 degrees of freedom) = 4.3027
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.seeds) == (2.0, 3)
    assert found.half_width == pytest.approx(4.302652729911275 / math.sqrt(3), rel=1e-9)


def test_one_seed_has_no_interval() -> None:
    found = estimate([0.5])
    assert (found.mean, found.half_width, found.seeds) == (0.5, None, 1)


def test_values_that_agree_have_no_spread_to_the_last_bit() -> None:
    for n in range(2, 200):  # the sum of 0.1 over n is not 0.1 for some n
        found = estimate([0.1] * n)
        assert (found.mean, found.half_width) == (0.1, 0.0)


def test_a_paired_test_is_scipys() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(2, 7))
    found = paired(dict(enumerate(one)), dict(enumerate(other)))
    expected = stats.ttest_rel(one, other)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.estimate is not None
    low, high = expected.confidence_interval(0.95)
    assert found.estimate.mean - found.estimate.half_width == pytest.approx(low)
    assert found.estimate.mean + found.estimate.half_width == pytest.approx(high)


def test_pairs_are_the_seeds_that_both_have() -> None:
    found = paired({0: 5.0, 1: 6.0, 2: 9.0}, {2: 7.0, 0: 4.0, 7: 100.0})
    assert found.estimate is not None
    assert (found.estimate.mean, found.estimate.seeds) == (1.5, 2)
    assert paired({0: 1.0}, {1: 1.0}).estimate is None


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        ({0: 3.0}, {0: 1.0}, None),  # one seed
        ({0: 3.0, 1: 4.0}, {0: 3.0, 1: 4.0}, 1.0),  # no difference at all
        ({0: 0.1 + 0.2, 1: 4.0}, {0: 0.3, 1: 4.0}, 1.0),  # nor but for rounding
        ({0: 3.0, 1: 4.0}, {0: 2.0, 1: 3.0}, None),  # the same difference: how it varies is not known
    ],
)
def test_where_the_test_says_nothing(one: dict[int, float], other: dict[int, float], p: float | None) -> None:
    assert paired(one, other).p == p


def test_holm_by_hand() -> None:
    # ascending .01 .02 .03 .04: times 4, 3, 2, 1 -> .04 .06 .06 .04, made monotone -> .04 .06 .06 .06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_an_effect_size_by_hand() -> None:
    # mean 2, deviation 1: d_z = 2; J of two degrees of freedom is 1 / gamma(1/2) = 1 / sqrt(pi)
    assert effect_size([1.0, 2.0, 3.0]) == pytest.approx(2 / math.sqrt(math.pi))
    # mean 1, deviation sqrt(10/3); J of four pairs is gamma(3/2) / (sqrt(3/2) gamma(1)), Hedges' table: 0.7236
    assert effect_size([-1.0, 0.0, 2.0, 3.0]) == pytest.approx(0.7236 / math.sqrt(10 / 3), rel=1e-4)
    assert effect_size([-1.0, -2.0, -3.0]) == pytest.approx(-2 / math.sqrt(math.pi)), "it keeps its sign"
    many = [0.0, 2.0] * 500
    assert effect_size(many) == pytest.approx(stats.ttest_1samp(many, 0).statistic / math.sqrt(1000), rel=1e-3)


@pytest.mark.parametrize("differences", [[], [1.0], [1.0, 3.0], [2.0, 2.0, 2.0], [0.1 + 0.2, 0.3, 0.3]])
def test_where_there_is_no_effect_size(differences: list[float]) -> None:
    assert effect_size(differences) is None


def test_a_difference_keeps_its_pairs_by_seed() -> None:
    found = paired({2: 9.0, 0: 5.0, 7: 6.0}, {7: 5.5, 2: 7.0, 0: 4.0})
    assert found.pairs == (1.0, 2.0, 0.5)
    assert found.effect == effect_size([1.0, 2.0, 0.5])
