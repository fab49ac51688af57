"""SynFlow: flow is conserved, rounds follow their schedule, no layer collapses where one shot empties it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import RecordingBench
from scoring_nets import bench_of, tanh_net
from torch import nn

from methods.layers import prunable_layers
from methods.rounds import kept_in_rounds
from methods.synflow import Synflow, flowing, synflow_masks


def _net(norm: bool = True) -> nn.Sequential:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5) if norm else nn.Identity(), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 4, 3), nn.GroupNorm(2, 4) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(16, 6), nn.LayerNorm(6) if norm else nn.Identity(), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip
    for module in net:
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    if norm:
        net[1].running_mean.fill_(3.0)  # type: ignore[operator, union-attr]
    return net


def _scores(net: nn.Module, side: int = 8) -> dict[str, torch.Tensor]:
    made = flowing(net)
    flow = made(torch.ones(1, 2, side, side, dtype=torch.float64)).sum()
    layers = prunable_layers(made)
    weights = [made.get_parameter(layer.parameter) for layer in layers]
    gradients = torch.autograd.grad(flow, weights)
    return {x.name: (w * g).detach() for x, w, g in zip(layers, weights, gradients, strict=True)} | {
        "flow": flow.detach()
    }


@pytest.mark.parametrize("norm", [True, False])
def test_flow_is_conserved_through_layers_and_units(norm: bool) -> None:
    """Tanaka et al., theorems 1 and 2: the scores of each layer add up to the flow, those into a unit to those out."""
    scores = _scores(_net(norm))
    for name in ("0", "4", "9", "12"):
        torch.testing.assert_close(scores[name].sum(), scores["flow"])
    torch.testing.assert_close(scores["9"].sum(1), scores["12"].sum(0))
    torch.testing.assert_close(scores["0"].sum((1, 2, 3)), scores["4"].sum((0, 2, 3)))
    assert all((score >= 0).all() for score in scores.values())


def test_scores_of_a_linear_net_by_hand() -> None:
    """R = 1^T |B| |A| 1, so the score of a_ij is |a_ij| times the column sum of |B| at i."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))  # type: ignore[union-attr, operator]
        net[2].weight.copy_(torch.tensor([[-2.0, 4.0]]))  # type: ignore[union-attr, operator]
    made = flowing(net)
    weights = [made.get_parameter("1.weight"), made.get_parameter("2.weight")]
    gradients = torch.autograd.grad(made(torch.ones(1, 2, dtype=torch.float64)).sum(), weights)
    found = [(weight * gradient).tolist() for weight, gradient in zip(weights, gradients, strict=True)]
    assert found == [[[2.0, 4.0], [12.0, 2.0]], [[6.0, 14.0]]]


def test_rounds_leave_an_exponentially_falling_part() -> None:
    left: list[int] = []
    net = tanh_net()  # 35 weights

    def score(net: nn.Module, scored: dict[str, nn.Parameter], number: int) -> dict[str, torch.Tensor]:
        left.append(sum(int((weight != 0).sum()) for weight in scored.values()))
        return {name: weight.detach().abs() for name, weight in scored.items()}

    masks = kept_in_rounds(bench_of(net), net, keep=7, rounds=4, score=score)
    assert left == [35, round(35 * 0.2**0.25), round(35 * 0.2**0.5), round(35 * 0.2**0.75)] == [35, 23, 16, 10]
    assert sum(int(mask.sum()) for mask in masks.values()) == 7


def _deep() -> nn.Sequential:
    """A wide layer between narrow ones: its many small scores are all below the narrow ones'."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 4), nn.Linear(4, 300), nn.Linear(300, 4), nn.Linear(4, 2))


def test_rounds_avoid_the_collapse_of_one_shot() -> None:
    net = _deep()
    bench = bench_of(net, shape=(2, 8, 8))
    sizes = {}
    for rounds in (1, 100):
        masks = synflow_masks(bench, dict(net.state_dict()), keep=20, rounds=rounds)
        sizes[rounds] = [int(mask.sum()) for mask in masks.values()]
        assert sum(sizes[rounds]) == 20
    assert 0 in sizes[1]
    assert min(sizes[100]) > 0


def test_the_flow_of_a_deep_net_does_not_overflow() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 400), *[nn.Linear(400, 400) for _ in range(40)])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    assert torch.isinf(net(torch.ones(1, 2, 8, 8))).any(), "what float32 cannot hold"
    masks = synflow_masks(bench_of(net, shape=(2, 8, 8)), dict(net.state_dict()), keep=1000, rounds=2)
    assert sum(int(mask.sum()) for mask in masks.values()) == 1000


def test_it_uses_no_data() -> None:
    net = _net()
    bench = bench_of(net, shape=(2, 8, 8))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    synflow_masks(bench, state, keep=50, rounds=3)
    assert bench.asked == []
    recorded: Any = RecordingBench(prunable_layers(net), "0.5")
    assert Synflow().find(recorded).weights.key == "init"
    assert "'rounds': 100" in recorded.asked[-1]
