"""Which proposals are the best, by hand."""

from __future__ import annotations

import pytest

from orchestrator.sweep.choosing import best, hypervolume, pareto, signed

UP_DOWN = [True, False]
"""Accuracy, MACs."""


def test_signed_turns_what_is_to_be_small() -> None:
    assert signed((0.9, 50.0), UP_DOWN) == (0.9, -50.0)


def test_the_pareto_set_goes_from_the_best_of_the_first_objective_on() -> None:
    values = {0: (0.8, 10.0), 1: (0.9, 50.0), 2: (0.85, 50.0), 3: (0.85, 20.0), 4: (0.7, 10.0)}
    # 2 is beaten by 1 (as many MACs) and 3 (as accurate), 4 by 0
    assert pareto(values, UP_DOWN) == [1, 3, 0]


def test_of_equals_the_earliest_is_in_the_pareto_set() -> None:
    values = {5: (0.9, 50.0), 2: (0.9, 50.0), 3: (0.8, 10.0), 1: (0.8, 10.0)}
    assert pareto(values, UP_DOWN) == [2, 1]


def test_the_pareto_set_depends_on_the_goals() -> None:
    values = {0: (1.0, 1.0), 1: (2.0, 2.0), 2: (3.0, 1.5)}
    assert pareto(values, [True, True]) == [2, 1]
    assert pareto(values, [False, False]) == [0]
    assert pareto(values, [True, False]) == [2, 0]
    assert pareto({}, UP_DOWN) == []


def test_the_best_of_one_objective_by_value_then_loss_then_number() -> None:
    values = {0: (0.9,), 1: (0.95,), 2: (0.95,), 3: (0.8,), 4: (0.95,), 5: (0.9,)}
    losses = {0: 0.3, 1: 0.2, 2: 0.1, 3: 0.0, 4: 0.1, 5: 0.3}
    assert best(values, [True], losses, 5) == [2, 4, 1, 0, 5]
    assert best(values, [True], losses, 1) == [2]
    assert best(values, [False], losses, 2) == [3, 0]
    assert best(values, [True], losses, 9) == [2, 4, 1, 0, 5, 3]


def test_without_losses_the_earliest_is_the_best() -> None:
    assert best({3: (0.9,), 1: (0.9,), 2: (0.9,)}, [True], {}, 2) == [1, 2]


def test_the_best_of_two_objectives_add_most_to_the_area_over_the_reference() -> None:
    # over (0.5, 100): 0 covers 0.4 x 10, 1 covers 0.3 x 60, 2 covers 0.1 x 90; 3 is worse than the reference
    front = {0: (0.9, 90.0), 1: (0.8, 40.0), 2: (0.6, 10.0), 3: (0.2, 1.0), 4: (0.7, 95.0)}
    assert best(front, UP_DOWN, {}, 1, (0.5, 100.0)) == [1]
    # beside 1 (18), 2 adds 0.1 x 30 = 3 and 0 adds 0.1 x 10 = 1
    assert best(front, UP_DOWN, {}, 2, (0.5, 100.0)) == [1, 2]
    assert best(front, UP_DOWN, {}, 9, (0.5, 100.0)) == [1, 2, 0]
    assert best({3: (0.2, 1.0), 5: (0.3, 2.0)}, UP_DOWN, {}, 2, (0.5, 100.0)) == [3]
    assert best({}, UP_DOWN, {}, 2, (0.5, 100.0)) == []


def test_hypervolume_of_three_points_one_beaten_and_one_outside() -> None:
    # over the reference (0.5, 100): 0.4 x 20 of the first, 0.3 x 30 more of the second, 0.1 x 40 more of the third
    values = {0: (0.9, 80.0), 1: (0.8, 50.0), 2: (0.6, 10.0), 3: (0.7, 60.0), 4: (0.4, 1.0), 5: (0.95, 120.0)}
    assert hypervolume(values, UP_DOWN, (0.5, 100.0)) == pytest.approx(0.4 * 20 + 0.3 * 30 + 0.1 * 40)


def test_a_point_on_the_reference_dominates_nothing() -> None:
    assert hypervolume({0: (0.5, 100.0), 1: (0.9, 100.0)}, UP_DOWN, (0.5, 100.0)) == 0
    assert hypervolume({}, UP_DOWN, (0.5, 100.0)) == 0
