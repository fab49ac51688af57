"""Exact counts, in all and shared between layers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest

from methods import budget
from methods.layers import Layer


@pytest.mark.parametrize(
    ("weights", "sparsity", "kept"),
    [
        (1000, "0", 1000),
        (1000, "0.9", 100),
        (1000, "0.9004", 100),
        (1000, "0.9006", 99),
        (5, "0.5", 3),  # 2.5 removed: halves to even, so 2
        (7, "0.5", 3),  # 3.5 removed: halves to even, so 4
        (10, "0.999", 0),
        (20_024_000, "0.98", 400_480),
        (1_855_584, "0.98", 37_112),
        (1_855_584, "0.995", 9_278),
        (3, "0.999999999999", 0),
    ],
)
def test_a_sparsity_is_taken_as_a_decimal_and_keeps_a_whole_number(weights: int, sparsity: str, kept: int) -> None:
    assert budget.kept(weights, Decimal(sparsity)) == kept


def test_the_total_counts_every_layer() -> None:
    assert budget.total([Layer("a", (4, 3, 2, 2), False), Layer("b", (10, 5), True)]) == 98


def test_shares_go_to_the_largest_remainders_and_ties_to_the_earlier_layer() -> None:
    third = Fraction(10, 3)
    assert budget.share([third, third, third], [9, 9, 9], 10) == [4, 3, 3]
    assert budget.share([Fraction(1, 4), Fraction(5, 4), Fraction(3, 2)], [9, 9, 9], 3) == [0, 1, 2]
    assert budget.share([Fraction(1, 2), Fraction(1, 2)], [5, 5], 1) == [1, 0]


def test_what_caps_take_away_goes_to_the_layers_with_room() -> None:
    exact = [Fraction(17, 10), Fraction(17, 10), Fraction(26, 10)]
    assert budget.share(exact, [1, 1, 9], 6) == [1, 1, 4]
    with pytest.raises(ValueError, match="cannot share 6 weights over 3 layers"):
        budget.share(exact, [1, 1, 3], 6)


def test_a_share_never_exceeds_its_cap() -> None:
    assert budget.share([Fraction(2), Fraction(1, 2), Fraction(1, 2)], [2, 1, 1], 3) == [2, 1, 0]
    assert budget.share([Fraction(3), Fraction(4)], [3, 4], 7) == [3, 4]
    assert budget.share([Fraction(0)], [3], 0) == [0]


@pytest.mark.parametrize("wanted", [8, 3])
def test_shares_that_do_not_add_up_are_refused(wanted: int) -> None:
    with pytest.raises(ValueError, match=f"cannot share {wanted} weights over 2 layers"):
        budget.share([Fraction(2), Fraction(2)], [3, 3], wanted)


# The projection onto a budget


@pytest.mark.parametrize(
    ("wanted", "low", "high", "keep", "counts"),
    [
        ([1, 1, 2], [0, 0, 0], [9, 9, 9], 8, [2, 2, 4]),
        ([1, 1, 2], [0, 0, 0], [9, 9, 3], 8, [3, 2, 3]),  # the third is full; 2.5 each, the tie to the earlier
        ([1, 9], [2, 2], [20, 20], 10, [2, 8]),
        # t = 100 / 111 gives 0.9, 9.0, 90.1: the third is full, and 40 are left for 1 : 10, which gives 3.6 and 36.4
        ([1, 10, 100], [5, 0, 0], [50, 50, 60], 100, [5, 35, 60]),
        # 1, 2, 4 scaled by 3 give 3, 6, 12: lack 7 and excess 7 settle both ends at once, and 6 stay
        ([1, 2, 4], [10, 0, 0], [20, 20, 5], 21, [10, 6, 5]),
        ([3, 1], [3, 1], [9, 9], 4, [3, 1]),  # the lower bounds are the budget
        ([1, 5], [0, 0], [2, 3], 5, [2, 3]),  # the upper ones are
    ],
)
def test_a_projection_by_hand(wanted: list[int], low: list[int], high: list[int], keep: int, counts: list[int]) -> None:
    assert budget.project([Fraction(value) for value in wanted], low, high, keep) == counts


def test_layers_that_want_nothing_take_the_rest_in_order() -> None:
    wanted, low, high = [Fraction(0), Fraction(1), Fraction(0)], [1, 1, 1], [4, 5, 6]
    assert budget.project(wanted, low, high, 5) == [1, 3, 1]
    assert budget.project(wanted, low, high, 9) == [3, 5, 1]
    assert budget.project(wanted, low, high, 12) == [4, 5, 3]
    assert budget.project([Fraction(0)] * 3, low, high, 7) == [4, 2, 1]


def test_what_meets_the_budget_already_is_only_rounded() -> None:
    exact = [Fraction(10, 3), Fraction(5, 3), Fraction(5)]
    assert budget.project(exact, [1] * 3, [9, 9, 5], 10) == budget.share(exact, [9, 9, 5], 10) == [3, 2, 5]
    assert budget.project([Fraction(10, 3)] * 3, [0] * 3, [9] * 3, 10) == [4, 3, 3]


@pytest.mark.parametrize(
    ("low", "high", "keep", "message"),
    [
        ([2, 3], [9, 9], 4, "the lower bounds hold 1 more than the budget of 4"),
        ([0, 0], [2, 3], 8, "the upper bounds hold 3 less than the budget of 8"),
        ([0, 4], [2, 3], 5, "layer 2: expected bounds 0 <= low <= high, got low 4 and high 3"),
        ([-1, 0], [2, 3], 1, "layer 1: expected bounds 0 <= low"),
    ],
)
def test_bounds_that_cannot_hold_the_budget_are_refused(
    low: list[int], high: list[int], keep: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        budget.project([Fraction(1), Fraction(1)], low, high, keep)


def _water_filled(wanted: Sequence[Fraction], low: Sequence[int], high: Sequence[int], keep: int) -> list[int]:
    """The projection written again: the factor lies between two of the points where a layer meets a bound."""

    def clipped(factor: Fraction) -> list[Fraction]:
        return [min(max(factor * own, a), Fraction(b)) for own, a, b in zip(wanted, low, high, strict=True)]

    breaks = sorted({Fraction(b) / own for own, *pair in zip(wanted, low, high, strict=True) for b in pair})
    for left, right in pairwise(breaks):
        below, above = sum(clipped(left)), sum(clipped(right))
        if below <= keep <= above and below < above:
            return budget.share(clipped(left + (right - left) * (keep - below) / (above - below)), high, keep)
    return budget.share(clipped(breaks[0]), high, keep)


def test_projections_are_the_water_filling() -> None:
    draw = random.Random(0)
    for _ in range(500):
        n = draw.randint(1, 8)
        high = [draw.randint(1, 60) for _ in range(n)]
        low = [draw.randint(0, draw.choice([1, top])) for top in high]
        wanted = [Fraction(10 ** draw.uniform(-3, 3)) for _ in range(n)]
        keep = draw.randint(sum(low), sum(high))
        found = budget.project(wanted, low, high, keep)
        assert sum(found) == keep
        assert found == _water_filled(wanted, low, high, keep)


def test_sixty_layers_are_projected_in_less_than_three_milliseconds() -> None:
    draw = random.Random(0)
    high = [draw.randint(100, 1_000_000) for _ in range(60)]
    wanted = [Fraction(10 ** draw.uniform(-4, 0)) * top for top in high]
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        budget.project(wanted, [1] * 60, high, sum(high) // 10)
        best = min(best, time.perf_counter() - began)
    assert best < 0.003
