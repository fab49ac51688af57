"""Death and growth by hand: how many go, which, and what comes in their place."""

from __future__ import annotations

import math

import pytest
import torch
from moments import positions

from methods.rewiring import came_back, cosine, regrown, survivors


def _vector(*values: float) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(values)}


def _mask(*kept: int) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(kept, dtype=torch.bool)}


@pytest.mark.parametrize(("share", "rate"), [(0, 0.5), (0.25, 0.4275), (0.5, 0.2525), (0.75, 0.0775), (1, 0.005)])
def test_the_rate_of_regeneration_has_the_papers_values(share: float, rate: float) -> None:
    assert cosine(0.5, 0.005, int(56_320 * share), 56_320) == pytest.approx(rate, abs=5e-5)


def test_rigls_rate_falls_to_nothing() -> None:
    """alpha / 2 (1 + cos(pi t / T_end)), eq. 1 of its paper."""
    assert [cosine(0.3, 0.0, t, 75) for t in (0, 25, 75)] == pytest.approx([0.3, 0.225, 0.0])


@pytest.mark.parametrize(("rounded", "left"), [(math.ceil, 2), (math.floor, 3)])
def test_the_smallest_kept_weights_die(rounded: object, left: int) -> None:
    """0.3 of 4 kept weights are 1.2."""
    weights, masks = _vector(0.5, 0, -0.1, 2, -3, 0), _mask(1, 0, 1, 1, 1, 0)
    found = survivors(weights, masks, 0.3, rounded)  # type: ignore[arg-type]
    assert positions(found) == {"a": [[0, 0, 0, 1, 1, 0], [1, 0, 0, 1, 1, 0]][left - 2]}


def test_of_equal_weights_the_last_dies_and_a_kept_zero_outlives_what_is_removed() -> None:
    assert positions(survivors(_vector(1, 1, 1, 0), _mask(1, 1, 1, 0), 0.4, math.floor)) == {"a": [1, 1, 0, 0]}
    assert positions(survivors(_vector(0, 0, 0, 0), _mask(0, 1, 0, 1), 0.5, math.floor)) == {"a": [0, 1, 0, 0]}


def test_empty_and_full_layers_are_left_as_they_are() -> None:
    assert positions(survivors(_vector(0, 0), _mask(0, 0), 0.5, math.ceil)) == {"a": [0, 0]}
    assert positions(survivors(_vector(1, 2), _mask(1, 1), 0.5, math.ceil)) == {"a": [1, 1]}
    assert positions(regrown(_mask(0, 0), _mask(0, 0), _vector(1, 2))) == {"a": [0, 0]}
    assert positions(survivors(_vector(2, 0), _mask(1, 0), 0.5, math.ceil)) == {"a": [0, 0]}


def test_the_largest_scores_grow_wherever_nothing_is_left() -> None:
    masks, left = _mask(1, 1, 1, 0, 0, 0), _mask(1, 0, 0, 0, 0, 0)
    assert positions(regrown(masks, left, _vector(9, 1, 5, 2, 0, 4))) == {"a": [1, 0, 1, 0, 0, 1]}
    assert positions(regrown(masks, left, _vector(9, 0, 0, 0, 0, 0))) == {"a": [1, 1, 1, 0, 0, 0]}, "ties: the first"


def test_what_came_back_was_kept_before_and_given_up_between() -> None:
    before, between, after = _mask(1, 1, 1, 0, 0), _mask(1, 0, 0, 0, 0), _mask(1, 1, 0, 1, 0)
    assert positions(came_back(before, between, after)) == {"a": [0, 1, 0, 0, 0]}
