"""SynFlow: flow is conserved, rounds follow their schedule, no layer collapses where one shot empties it."""

from __future__ import annotations

from typing import Any

import conformance_nets
import pytest
import torch
from benches import RecordingBench
from scoring_nets import bench_of, tanh_net
from torch import nn
from torch.nn import functional as F

from methods.layers import prunable_layers
from methods.rounds import kept_in_rounds
from methods.synflow import Synflow, flow, positive, synflow_masks
from orchestrator.engine import nets
from orchestrator.spec.models import Model


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


def _scores(net: nn.Module, shape: tuple[int, int, int] = (2, 8, 8)) -> dict[str, torch.Tensor]:
    made = positive(net)
    total = flow(made, shape)
    layers = prunable_layers(made)
    weights = [made.get_parameter(layer.parameter) for layer in layers]
    gradients = torch.autograd.grad(total, weights, materialize_grads=True)
    found = {x.name: (w * g).detach() for x, w, g in zip(layers, weights, gradients, strict=True)}
    return found | {"flow": total.detach()}


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
    scores = _scores(net, (2, 1, 1))
    assert [scores["1"].tolist(), scores["2"].tolist()] == [[[2.0, 4.0], [12.0, 2.0]], [[6.0, 14.0]]]


@pytest.mark.parametrize("name", ["depthwise", "grouped"])
def test_flow_is_conserved_through_groups_of_channels(name: str) -> None:
    torch.manual_seed(0)
    scores = _scores(getattr(conformance_nets, name)(4, 2))
    total = scores.pop("flow")
    assert total > 0
    for score in scores.values():
        torch.testing.assert_close(score.sum(), total)


def test_a_weight_that_is_used_twice_carries_the_flow_twice() -> None:
    """R has degree 2 in it, so its scores add up to 2 R (Euler's theorem on homogeneous functions)."""
    torch.manual_seed(0)
    scores = _scores(conformance_nets.shared(4, 2))
    for name, uses in (("first", 1), ("twice", 2), ("left", 2), ("fc", 1)):
        torch.testing.assert_close(scores[name].sum(), uses * scores["flow"])


def test_a_residual_branch_carries_as_much_in_each_of_its_layers() -> None:
    torch.manual_seed(0)
    scores = _scores(nets.build(Model(name="resnet8", width=0.25), 4, (3, 8, 8), seed=0), (3, 8, 8))
    names = list(scores)
    branches = [name.removesuffix("conv1") for name in names if name.endswith(".conv1")]
    assert len(branches) == 3
    for branch in branches:
        inner = scores[f"{branch}conv1"].sum()
        torch.testing.assert_close(inner, scores[f"{branch}conv2"].sum())
        assert 0 < inner < scores["flow"]
    for whole in (names[0], names[-2]):  # the stem and the classifier, which no branch passes by
        torch.testing.assert_close(scores[whole].sum(), scores["flow"])


ACTIVATIONS = [nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.SiLU, nn.Mish, nn.GELU, nn.SELU, nn.Softplus, nn.Tanh]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_activation_holds_up_the_flow(activation: type[nn.Module]) -> None:
    """The flow is far above 6, where ReLU6 has no slope and every layer before it would score zero."""
    torch.manual_seed(0)
    first, second = nn.Linear(128, 200), nn.Linear(200, 3)
    found, wanted = (_scores(nn.Sequential(nn.Flatten(), first, own(), second)) for own in (activation, nn.ReLU))
    assert wanted["flow"] > 100
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=0)


class _Functions(nn.Module):
    """Normalises without a module of torch's for it, over channels that come last for a while as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.fc = nn.Conv2d(2, 8, 1), nn.Linear(8, 3)
        self.gamma, self.scale = nn.Parameter(torch.rand(8) - 0.5), nn.Parameter(torch.rand(8) - 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.layer_norm(self.first(x).permute(0, 2, 3, 1), (8,), self.gamma).permute(0, 3, 1, 2)
        x = F.batch_norm(x, torch.full((8,), 9.0).to(x), torch.ones(8).to(x), weight=self.scale)
        return self.fc(F.relu6(x).mean((2, 3)))


def test_functions_that_normalise_multiply_by_their_gamma() -> None:
    torch.manual_seed(0)
    net = _Functions()
    scores = _scores(net)
    pieces = [net.first.weight.sum((1, 2, 3)), net.gamma, net.scale, net.fc.weight.sum(0)]  # all of them positive now
    by_channel = torch.stack(pieces).prod(0).detach()
    torch.testing.assert_close(scores["first"].sum((1, 2, 3)), by_channel)
    torch.testing.assert_close(scores["fc"].sum(0), by_channel)
    torch.testing.assert_close(scores["flow"], by_channel.sum())


class _Attention(nn.Module):
    """Three tokens that differ, attention to them in one of the ways there are, a classifier of what they give."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.token = way, nn.Parameter(torch.rand(3, 8))
        self.qkv, self.own = nn.Linear(8, 24), nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 3)
        nn.init.ones_(self.own.in_proj_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)[:, None, :8] * self.token * 1e6
        if self.way == "module":
            return self.fc(self.own(x, x, x)[0]).sum(1)
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.way == "function":
            return self.fc(F.scaled_dot_product_attention(q, k, v)).sum(1)
        return self.fc(F.softmax(q @ k.transpose(1, 2), dim=-1) @ v).sum(1)


@pytest.mark.parametrize("way", ["module", "function", "softmax"])
def test_attention_averages_and_conserves_the_flow(way: str) -> None:
    torch.manual_seed(0)
    net = _Attention(way)
    scores = _scores(net)
    values = net.own.in_proj_weight[16:] if way == "module" else net.qkv.weight[16:]
    sent = 1e6 * net.token.sum(0) @ values.T  # three tokens get the mean of three
    sent = sent @ net.own.out_proj.weight.T if way == "module" else sent
    torch.testing.assert_close(scores["flow"], (sent @ net.fc.weight.T).sum().detach())
    torch.testing.assert_close(scores["fc"].sum(), scores["flow"])
    if way != "module":
        assert not scores["qkv"][:16].any()
        torch.testing.assert_close(scores["qkv"][16:].sum(), scores["flow"])


def test_rounds_leave_an_exponentially_falling_part() -> None:
    left: list[int] = []
    net = tanh_net()  # 35 weights

    def score(net: nn.Module, scored: dict[str, nn.Parameter], number: int) -> dict[str, torch.Tensor]:
        left.append(sum(int((weight != 0).sum()) for weight in scored.values()))
        return {name: weight.detach().abs() for name, weight in scored.items()}

    masks = kept_in_rounds(bench_of(net), net, keep=7, rounds=4, score=score)
    assert left == [35, round(35 * 0.2**0.25), round(35 * 0.2**0.5), round(35 * 0.2**0.75)] == [35, 23, 16, 10]
    assert sum(int(mask.sum()) for mask in masks.values()) == 7


def test_rounds_of_a_net_that_has_collapsed_keep_within_what_was_left() -> None:
    """A round that scores nothing but zeros goes on to the exact count, for the ticket to be flagged as collapsed; a
    net that scores nothing from the start is refused."""
    net, found = tanh_net(), []

    def score(net: nn.Module, scored: dict[str, nn.Parameter], number: int) -> dict[str, torch.Tensor]:
        found.append({name: weight != 0 for name, weight in scored.items()})
        return {name: weight.detach().abs() * (number == 0) for name, weight in scored.items()}

    masks = kept_in_rounds(bench_of(net), net, keep=7, rounds=3, score=score)
    assert sum(int(mask.sum()) for mask in masks.values()) == 7
    assert all((left[name] | ~masks[name]).all() for left in found for name in masks)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    with pytest.raises(ValueError, match="every weight scores zero"):
        kept_in_rounds(bench_of(net), net, keep=7, rounds=3, score=score)


def test_dropout_drops_nothing() -> None:
    found = [_scores(_net()) for _ in range(2)]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    without = _net()
    without[7] = nn.Identity()
    assert torch.equal(_scores(without)["flow"], found[0]["flow"])


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
