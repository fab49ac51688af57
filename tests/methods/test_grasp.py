"""GraSP: H g by finite differences of the gradient, what is kept, what is drawn anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import RecordingBench
from scoring_nets import Tensors, batch, bench_of, differences, tanh_net
from torch import nn
from torch.nn import functional as F

from methods.grasp import Grasp, grasp_masks
from methods.layers import prunable_layers
from methods.masks import keep_largest

OPTIONS: dict[str, Any] = {"per_class": 2, "batches": 1, "temperature": 200.0, "reinitialise_linear": False}


def _gradient(net: nn.Module, halves: list[Any], temperature: float) -> Tensors:
    total = torch.zeros((), dtype=torch.float64)
    for images, labels in halves:
        total = total + F.cross_entropy(net(images) / temperature, labels)
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    found = torch.autograd.grad(total, [net.get_parameter(f"{name}.weight") for name in names])
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("temperature", [200.0, 1.0])
@pytest.mark.parametrize("keep", [1, 12, 30])
def test_the_largest_w_h_g_are_kept(temperature: float, keep: int) -> None:
    """H g is the slope of g . g(w) / 1 at constant g: by central differences of the gradient's product with it."""
    net = tanh_net()
    images, labels = batch(0)
    halves = [(images[:3], labels[:3]), (images[3:], labels[3:])]
    g = {name: value.detach() for name, value in _gradient(net, halves, temperature).items()}

    def product() -> float:
        now = _gradient(net, halves, temperature)
        return sum(float((g[name] * now[name]).sum()) for name in g)

    hg = differences(net, product)
    wanted = keep_largest({name: net.get_parameter(f"{name}.weight") * hg[name] for name in hg}, keep)
    options = {**OPTIONS, "temperature": temperature}
    masks = grasp_masks(bench_of(net, [(images, labels)]), dict(net.state_dict()), keep=keep, **options)
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)


def test_batches_add_up_before_the_product_with_the_hessian() -> None:
    net, parts = tanh_net(), [batch(0), batch(1)]
    masks = grasp_masks(bench_of(net, parts), dict(net.state_dict()), keep=12, **{**OPTIONS, "batches": 2})
    halves = [(x[own], y[own]) for x, y in parts for own in (slice(3), slice(3, None))]
    g = {name: value.detach() for name, value in _gradient(net, halves, 200.0).items()}
    hg = differences(net, lambda: sum(float((g[n] * v).sum()) for n, v in _gradient(net, halves, 200.0).items()))
    wanted = keep_largest({name: net.get_parameter(f"{name}.weight") * hg[name] for name in hg}, 12)
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)


def test_linear_layers_are_scored_with_weights_drawn_anew_from_the_trials_seed() -> None:
    """The scores are those of a net whose linear weights are Xavier-normal draws of the bench's generators; its biases,
    and the ticket's weights, are the initial ones."""
    net = tanh_net()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    bench = bench_of(net, [batch(0)])
    masks = grasp_masks(bench, weights, keep=12, **{**OPTIONS, "reinitialise_linear": True})
    plain = grasp_masks(bench, weights, keep=12, **OPTIONS)
    assert any(not torch.equal(masks[name], plain[name]) for name in masks)

    drawn = dict(weights)
    for name in ("0", "2"):
        fresh = torch.empty_like(weights[f"{name}.weight"])
        drawn[f"{name}.weight"] = nn.init.xavier_normal_(fresh, generator=bench.generator("grasp linear", name))
    wanted = grasp_masks(bench, drawn, keep=12, **OPTIONS)
    assert all(torch.equal(masks[name], wanted[name]) for name in masks)
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())


def test_a_net_that_scores_nothing_but_zeros_is_refused() -> None:
    net = tanh_net()
    weights = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="every weight scores zero"):
        grasp_masks(bench_of(net, [batch(0)]), weights, keep=12, **OPTIONS)


def test_the_hard_sigmoid_is_differentiated_twice() -> None:
    torch.manual_seed(0)
    masks = []
    for gate in (nn.Hardsigmoid(), _HardSigmoid()):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), gate, nn.Linear(5, 3)).double()
        masks.append(grasp_masks(bench_of(net, [batch(0)]), dict(net.state_dict()), keep=20, **OPTIONS))
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])


class _HardSigmoid(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x + 3) / 6).clamp(0, 1)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.fc = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x).view(-1, 1, 2, 2)
        return self.fc(F.scaled_dot_product_attention(y, y, y).flatten(1))


def test_fused_attention_is_differentiated_twice() -> None:
    torch.manual_seed(0)
    net = _Attention()
    images, labels = batch(0)
    masks = grasp_masks(bench_of(net, [(images.float(), labels)]), dict(net.state_dict()), keep=14, **OPTIONS)
    assert sum(int(mask.sum()) for mask in masks.values()) == 14


def test_it_scores_the_initial_weights_once_and_refuses_too_large_batches() -> None:
    bench: Any = RecordingBench(prunable_layers(tanh_net()), "0.8")
    ticket = Grasp(per_class=3).find(bench)
    assert ticket.weights.key == "init"
    assert [text.split("(")[0] for text in bench.asked] == ["init", "grasp_masks"]
    with pytest.raises(ValueError, match="per_class: 21 is more than the 20 training images of the smallest class"):
        Grasp(per_class=21).find(bench)
