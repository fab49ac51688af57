"""Fisher scores by hand, image by image; magnitudes at initialisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import RecordingBench
from scoring_nets import batch, bench_of, tanh_net
from torch import nn
from torch.nn import functional as F

from methods.fisher import Fisher, fisher_masks
from methods.layers import Layer, prunable_layers
from methods.magnitude_init import MagnitudeInit
from methods.masks import keep_largest


@pytest.mark.parametrize("keep", [1, 12, 30])
def test_squares_are_taken_of_each_image(keep: int) -> None:
    net = tanh_net()
    images, labels = batch(0)
    summed = {"0": torch.zeros(5, 4).double(), "2": torch.zeros(3, 5).double()}
    whole = {name: torch.zeros_like(value) for name, value in summed.items()}
    for i in range(len(labels)):
        loss = F.cross_entropy(net(images[i : i + 1]), labels[i : i + 1])
        for name, own in zip(summed, torch.autograd.grad(loss, [net[0].weight, net[2].weight]), strict=True):  # type: ignore[list-item]
            summed[name] += own**2
            whole[name] += own
    weights = {name: net.get_parameter(f"{name}.weight").detach() for name in summed}
    wanted = keep_largest({name: weights[name] ** 2 * value for name, value in summed.items()}, keep)
    masks = fisher_masks(bench_of(net, [(images, labels)]), dict(net.state_dict()), keep, 2, 1)
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)
    if keep == 12:
        other = keep_largest({name: (weights[name] * value).abs() for name, value in whole.items()}, keep)
        assert any(not torch.equal(masks[name], other[name]) for name in other), "not the square of the sum"


def test_batch_norm_takes_the_batchs_statistics_as_constants() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3)).double()
    images, labels = batch(0)
    images = images * 5 + 3
    state = {name: value.clone() for name, value in net.state_dict().items()}
    hidden = net[0](images)
    mean, deviation = hidden.mean(0).detach(), (hidden.var(0) + 1e-5).sqrt().detach()
    summed = {"0": torch.zeros(5, 4).double(), "4": torch.zeros(3, 5).double()}
    for i in range(len(labels)):
        logits = net[4](torch.tanh((net[0](images[i : i + 1]) - mean) / deviation))
        gradients = torch.autograd.grad(F.cross_entropy(logits, labels[i : i + 1]), [net[0].weight, net[4].weight])
        for name, own in zip(summed, gradients, strict=True):
            summed[name] += own**2
    wanted = keep_largest({name: state[f"{name}.weight"] ** 2 * value for name, value in summed.items()}, 14)
    masks = fisher_masks(bench_of(net, [(images, labels)]), state, 14, 2, 1)
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)


def test_a_net_that_scores_nothing_but_zeros_is_refused() -> None:
    net = tanh_net()
    with torch.no_grad():
        net[2].weight.zero_()  # type: ignore[union-attr, operator]
    with pytest.raises(ValueError, match="every weight scores zero"):
        fisher_masks(bench_of(net, [batch(0)]), dict(net.state_dict()), 12, 2, 1)


def test_it_scores_the_initial_weights_once() -> None:
    bench: Any = RecordingBench(prunable_layers(tanh_net()), "0.8")
    assert Fisher(per_class=3).find(bench).weights.key == "init"
    assert [text.split("(")[0] for text in bench.asked] == ["init", "fisher_masks"]


def test_magnitudes_at_initialisation_share_the_masks_of_magnitude_pruning() -> None:
    layers = (Layer("a", (600,)), Layer("b", (300,)), Layer("fc", (10, 10), True))
    for options, keep in (({}, "500"), ({"scope": "layerwise"}, "{'a': 300, 'b': 150, 'fc': 50}")):
        bench: Any = RecordingBench(layers, "0.5")
        ticket = MagnitudeInit(**options).find(bench)
        assert ticket.weights.key == "init"
        assert bench.asked == ["init", f"magnitude_masks(init, dense, {{'keep': {keep}, 'dense': []}})"]
