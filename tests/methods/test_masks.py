"""Masks from scores: exact counts, stable ties, nothing that is not a number."""

from __future__ import annotations

import pytest
import torch

from methods.masks import keep_largest, keep_largest_per_layer, refuse_zeros


def test_the_largest_scores_of_all_layers_are_kept() -> None:
    masks = keep_largest({"a": torch.tensor([[1.0, 5.0], [3.0, -1.0]]), "b": torch.tensor([4.0, 2.0])}, 3)
    assert masks["a"].tolist() == [[False, True], [True, False]]
    assert masks["b"].tolist() == [True, False]
    assert masks["a"].dtype == torch.bool


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_exactly_as_many_as_asked_are_kept_also_among_equals(scale: float) -> None:
    source = torch.Generator().manual_seed(0)
    scores = {
        "a": torch.randint(0, 4, (7, 5, 3), generator=source) * scale,
        "b": torch.randint(0, 4, (11,), generator=source) * scale,
    }
    for keep in range(117):
        masks = keep_largest(scores, keep)
        assert sum(int(mask.sum()) for mask in masks.values()) == keep
        assert {name: mask.shape for name, mask in masks.items()} == {n: s.shape for n, s in scores.items()}


def test_of_equal_scores_the_earlier_is_kept() -> None:
    masks = keep_largest({"a": torch.ones(2, 3), "b": torch.ones(4)}, 8)
    assert masks["a"].all()
    assert masks["b"].tolist() == [True, True, False, False]
    masks = keep_largest({"a": torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0])}, 3)
    assert masks["a"].tolist() == [True, True, False, True, False]


def test_a_mask_follows_positions_not_memory() -> None:
    scores = torch.arange(24.0).reshape(2, 3, 2, 2)
    plain = keep_largest({"a": scores}, 9)["a"]
    strided = keep_largest({"a": scores.to(memory_format=torch.channels_last)}, 9)["a"]
    assert torch.equal(plain, strided)
    assert torch.equal(plain, scores >= 15)


def test_each_layer_keeps_its_own_count() -> None:
    scores = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([30.0, 20.0, 10.0])}
    masks = keep_largest_per_layer(scores, {"a": 2, "b": 1})
    assert masks["a"].tolist() == [False, True, True]
    assert masks["b"].tolist() == [True, False, False]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="a score is not finite: the network or its gradients diverged"):
        keep_largest({"a": torch.tensor([1.0, bad]), "b": torch.ones(3)}, 2)
    with pytest.raises(ValueError, match="a score is not finite"):
        keep_largest_per_layer({"a": torch.tensor([1.0, bad])}, {"a": 1})


@pytest.mark.parametrize("keep", [-1, 6])
def test_a_count_that_cannot_be_kept_is_refused(keep: int) -> None:
    with pytest.raises(ValueError, match=f"cannot keep {keep} of 5 weights"):
        keep_largest({"a": torch.ones(2), "b": torch.ones(3)}, keep)


def test_scores_that_are_all_zero_are_refused() -> None:
    refuse_zeros({"a": torch.zeros(2), "b": torch.tensor([0.0, 1e-30])})
    refuse_zeros({"a": torch.ones(2)})
    with pytest.raises(ValueError, match="every weight scores zero, so the scores choose none"):
        refuse_zeros({"a": torch.zeros(2), "b": -torch.zeros(1, 3)})
