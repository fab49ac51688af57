"""The bootstrap interval of a mean, against enumeration by hand and scipy's resampling."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from orchestrator.report.bootstrap import EXACT, bootstrap


def enumerated(values: list[float]) -> tuple[float, float]:
    """From all n^n resamples, one by one."""
    means = sorted(sum(resample) / len(values) for resample in product(values, repeat=len(values)))
    tail = next(i for i in range(len(means)) if (i + 1) / len(means) >= 0.025 - 1e-12)
    return means[tail], means[-1 - tail]


def test_three_seeds_reach_no_further_than_their_range() -> None:
    # all three draws are the least with probability 1/27, which is more than 2.5 %
    assert bootstrap([6.0, 1.0, 2.0]) == (1.0, 6.0)


@pytest.mark.parametrize(
    "values", [[0.5, -1.0], [1.0, 2.0, 4.0, 8.0], [0.0, 0.0, 1.0, 5.0, -3.0], [3, 1, 4, 1, 5, 9.5]]
)
def test_few_values_are_enumerated(values: list[float]) -> None:
    assert bootstrap(values) == pytest.approx(enumerated(values))


@pytest.mark.parametrize("n", [EXACT, EXACT + 1, 20])
def test_it_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    low, high = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=50_000, rng=1).confidence_interval
    found = bootstrap(list(values))
    assert found == pytest.approx((low, high), abs=0.03)
    assert found == bootstrap(list(values[::-1])), "the same again, in any order"


def test_it_turns_with_the_sign() -> None:
    low, high = bootstrap([1.0, 2.0, 4.0, 8.0])
    assert bootstrap([-1.0, -2.0, -4.0, -8.0]) == pytest.approx((-high, -low))


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [0.1 + 0.2, 0.3]])
def test_where_resampling_says_nothing(values: list[float]) -> None:
    assert bootstrap(values) is None


def test_it_is_narrower_than_the_t_interval_of_three_seeds() -> None:
    values = [1.0, 2.0, 3.0]
    low, high = bootstrap(values)
    t_low, t_high = stats.t.interval(0.95, 2, 2, stats.sem(values))
    assert t_low < low < high < t_high
