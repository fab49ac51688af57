"""Random tickets: the ratio's counts at positions drawn uniformly."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
import torch
from benches import RecordingBench, ScoringBench
from torch import nn

from methods.layers import prunable_layers
from methods.random import Random, random_masks

NET = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(8, 5, bias=False))


def _masks(seed: int, keep: list[int]) -> dict[str, torch.Tensor]:
    bench: Any = ScoringBench(NET, [], seed)
    return random_masks(bench, keep)


def test_every_layer_keeps_its_count() -> None:
    for keep in ([0, 0], [36, 40], [7, 1]):
        masks = _masks(3, keep)
        assert [int(mask.sum()) for mask in masks.values()] == keep
        assert [tuple(mask.shape) for mask in masks.values()] == [(4, 1, 3, 3), (5, 8)]


def test_a_seed_gives_one_ticket_and_another_seed_another() -> None:
    assert torch.equal(_masks(1, [18, 20])["0"], _masks(1, [18, 20])["0"])
    assert not torch.equal(_masks(1, [18, 20])["0"], _masks(2, [18, 20])["0"])


def test_every_position_is_as_likely_as_any_other() -> None:
    kept = torch.stack([_masks(seed, [9, 10])["0"].flatten() for seed in range(800)]).double().sum(0)
    expected, deviation = 800 / 4, (800 * 0.25 * 0.75) ** 0.5
    assert (kept - expected).abs().max() < 4.5 * deviation


def test_a_larger_budget_of_the_same_seed_keeps_what_the_smaller_kept() -> None:
    small, large = _masks(1, [5, 5])["0"], _masks(1, [15, 5])["0"]
    assert (large | ~small).all()


def test_it_asks_for_no_training() -> None:
    bench: Any = RecordingBench(prunable_layers(NET), "0.5")
    ticket = Random(ratio="uniform").find(bench)
    assert ticket.weights.key == "init"
    assert bench.asked == ["init", "random_masks({'keep': [18, 20]})".replace("({", "(, {")]


def test_wrong_options_are_refused() -> None:
    for options in ({"ratio": "smrt"}, {"classifier_keep": 0}, {"classifier_keep": 1.5}, {"variant": "x"}, {"x": 1}):
        with pytest.raises(pydantic.ValidationError):
            Random(**options)
