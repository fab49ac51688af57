"""Pruning plasticity: what is pruned and exchanged by hand, and the stages that it asks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import RecordingBench
from scoring_nets import batch, bench_of, tanh_net
from torch.nn import functional as F

from methods.layers import Layer
from methods.masks import keep_largest
from methods.plasticity import Plasticity, plastic_masks, pruned_weights, regenerated

LAYERS = (Layer("a", (600,)), Layer("b", (300,)), Layer("fc", (10, 10), True))
SCORING: dict[str, Any] = {"per_class": 2, "batches": 1}


def _gradients(net: Any) -> dict[str, torch.Tensor]:
    images, labels = batch(0)
    found = torch.autograd.grad(F.cross_entropy(net(images), labels), [net[0].weight, net[2].weight])
    return dict(zip(("0", "2"), found, strict=True))


@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "random"])
def test_what_is_pruned_first(criterion: str) -> None:
    net = tanh_net()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    bench = bench_of(net, [batch(0)])
    masks = plastic_masks(bench, state, 12, criterion, **SCORING)
    assert sum(int(mask.sum()) for mask in masks.values()) == 12
    weights = {name: state[f"{name}.weight"] for name in ("0", "2")}
    if criterion == "magnitude":
        wanted = keep_largest({name: weight.abs() for name, weight in weights.items()}, 12)
    elif criterion == "gradient":
        wanted = keep_largest({name: (weights[name] * g).abs() for name, g in _gradients(net).items()}, 12)
    else:
        wanted = plastic_masks(bench, state, 12, "random", **SCORING)
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)
    each = plastic_masks(bench, state, {"0": 3, "2": 9}, criterion, **SCORING)
    assert [int(mask.sum()) for mask in each.values()] == [3, 9]


@pytest.mark.parametrize("growth", ["gradient", "random"])
def test_regeneration_exchanges_half_of_each_layer(growth: str) -> None:
    net = tanh_net()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    bench = bench_of(net, [batch(0)])
    masks = plastic_masks(bench, state, {"0": 5, "2": 6}, "magnitude", **SCORING)
    found = regenerated(bench, state, masks, growth, 0.5, **SCORING)
    net.load_state_dict(pruned_weights(bench, state, masks))
    gradients = _gradients(net)
    for name, left in (("0", 2), ("2", 3)):  # ceil(0.5 n) of 5 and of 6 go
        assert int(found[name].sum()) == int(masks[name].sum()), "the sparsity is as it was"
        stayed = keep_largest({name: torch.where(masks[name], state[f"{name}.weight"].abs(), -1)}, left)[name]
        assert (found[name] & stayed).sum() == left, "the largest stay"
        if growth == "gradient":
            slopes = torch.where(stayed, -1.0, gradients[name].abs())
            grown = keep_largest({name: slopes}, int(masks[name].sum()) - left)[name]
            assert torch.equal(found[name], stayed | grown)


def _find(sparsity: str = "0.5", **options: Any) -> tuple[Any, list[str]]:
    bench: Any = RecordingBench(LAYERS, sparsity)
    return Plasticity(**options).find(bench), bench.asked


def test_it_trains_on_at_the_learning_rate_of_that_moment() -> None:
    ticket, asked = _find(at="3ep", epochs=2)
    before = "train(init, dense, 0-300)"
    assert asked[:2] == ["init", before]
    assert asked[2].startswith(f"plastic_masks({before}, {{'keep': 500, 'criterion': 'magnitude'")
    recipe = {"epochs": 2, "lr": 0.097, "schedule": {"name": "constant"}}
    assert asked[3] == f"train({before}, {asked[2]}, 0-200){recipe}"
    assert ticket.trained.key == asked[3]
    assert ticket.before.key == before
    assert ticket.masks.key == asked[2]


def test_what_came_back_starts_from_zero() -> None:
    ticket, asked = _find(at="3ep", epochs=2, regenerate="random")
    assert ticket.weights.key.startswith("pruned_weights(train(init, dense, 0-300), plastic_masks(")
    assert ticket.masks.key.startswith("regenerated(train(init, dense, 0-300), plastic_masks(")
    assert asked[-1].startswith(f"train({ticket.weights.key}, {ticket.masks.key}, 0-200)")


def test_layerwise_keeps_a_count_of_each_layer() -> None:
    assert "{'keep': {'a': 300, 'b': 150, 'fc': 50}" in _find(at="1ep", scope="layerwise")[1][2]


@pytest.mark.parametrize("at", ["0ep", "11ep"])
def test_a_step_outside_the_training_is_refused(at: str) -> None:
    with pytest.raises(ValueError, match=f"at: {at} is not within the training of 10ep"):
        _find(at=at)
