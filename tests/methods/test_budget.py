"""Exact counts, in all and shared between layers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

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
