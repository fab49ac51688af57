"""SNIP scores against formulas by hand and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import RecordingBench, ScoringBench
from torch import nn
from torch.nn import functional as F

from methods.layers import prunable_layers
from methods.masks import keep_largest
from methods.snip import Snip, snip_masks


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def _batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(number)
    return torch.randn(6, 4, generator=source).double(), torch.randint(3, (6,), generator=source)


def _by_hand(net: Any, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """dL/dW of a two-layer net, back-propagated by hand."""
    first, second = net[0], net[2]
    hidden = torch.tanh(images @ first.weight.T + first.bias)
    p = torch.softmax(hidden @ second.weight.T + second.bias, 1)
    p[torch.arange(len(labels)), labels] -= 1
    delta = p / len(labels)
    return {"0": ((delta @ second.weight) * (1 - hidden**2)).T @ images, "2": delta.T @ hidden}


def _scores(net: Any, gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    weights = {"0": net[0].weight, "2": net[2].weight}
    return {name: (weights[name] * gradient).abs().detach() for name, gradient in gradients.items()}


def _masks(
    net: nn.Module, batches: list[Any], keep: int, count: int, **rounds: int
) -> tuple[dict[str, torch.Tensor], ScoringBench]:
    bench: Any = ScoringBench(net, batches)
    return snip_masks(bench, dict(net.state_dict()), keep=keep, per_class=2, batches=count, **rounds), bench


@pytest.mark.parametrize("keep", [0, 1, 10, 20, 35])
def test_the_weights_with_the_largest_sensitivity_by_hand_are_kept(keep: int) -> None:
    net = _net()
    with torch.no_grad():
        wanted = keep_largest(_scores(net, _by_hand(net, *_batch(0))), keep)
    masks, bench = _masks(net, [_batch(0)], keep, 1)
    assert bench.asked == [(2, 0)]
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)
    assert sum(int(mask.sum()) for mask in masks.values()) == keep


def test_the_sensitivity_is_the_loss_lost_with_a_weight_to_first_order() -> None:
    """|w dL/dw| by central differences in float64; the threshold of the masks lies where theirs does."""
    net = _net()
    images, labels = _batch(0)
    sensitivities = {}
    for name in ("0", "2"):
        weight = net.get_parameter(f"{name}.weight")
        flat, scores = weight.data.view(-1), torch.zeros(weight.numel(), dtype=torch.float64)
        for i in range(weight.numel()):
            kept = flat[i].item()
            losses = []
            for factor in (1 + 1e-6, 1 - 1e-6):
                flat[i] = kept * factor
                losses.append(F.cross_entropy(net(images), labels).item())
            flat[i] = kept
            scores[i] = abs(losses[0] - losses[1]) / 2e-6
        sensitivities[name] = scores.view_as(weight)
    wanted = keep_largest(sensitivities, 12)
    masks, _ = _masks(net, [(images, labels)], 12, 1)
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)


def test_gradients_of_several_batches_are_added_before_the_magnitude_is_taken() -> None:
    net = _net()
    with torch.no_grad():
        parts = [_by_hand(net, *_batch(number)) for number in range(3)]
        summed = {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}
        apart = {name: torch.stack([part[name].abs() for part in parts]).sum(0) for name in parts[0]}
    masks, bench = _masks(net, [_batch(number) for number in range(3)], 15, 3)
    assert bench.asked == [(2, 0), (2, 1), (2, 2)]
    wanted, other = keep_largest(_scores(net, summed), 15), keep_largest(_scores(net, apart), 15)
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)
    assert any(not torch.equal(masks[name], other[name]) for name in other)


def test_one_batch_and_its_two_halves_score_alike() -> None:
    """Half batches with as many images each: the sum of their mean losses is twice the whole's."""
    net, (images, labels) = _net(), _batch(0)
    whole, _ = _masks(net, [(images, labels)], 15, 1)
    halves, _ = _masks(net, [(images[:3], labels[:3]), (images[3:], labels[3:])], 15, 2)
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_batch_norm_scores_in_training_mode() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    images, labels = _batch(0)
    images = images * 5 + 3
    state = {name: value.clone() for name, value in net.state_dict().items()}
    wanted = []
    for training in (True, False):
        net.load_state_dict(state)
        net.train(training)
        loss = F.cross_entropy(net(images), labels)
        weights = {"0": net[0].weight, "3": net[3].weight}
        gradients = torch.autograd.grad(loss, list(weights.values()))
        scores = {n: (w * g).abs() for (n, w), g in zip(weights.items(), gradients, strict=True)}
        wanted.append(keep_largest(scores, 12))
    net.load_state_dict(state)
    net.eval()
    masks, _ = _masks(net, [(images, labels)], 12, 1)
    assert all(torch.equal(masks[name], wanted[0][name]) for name in masks)
    assert any(not torch.equal(masks[name], wanted[1][name]) for name in masks)


def test_gradients_that_are_not_finite_are_refused() -> None:
    images, labels = _batch(0)
    with pytest.raises(ValueError, match="a score is not finite"):
        _masks(_net(), [(images * float("inf"), labels)], 5, 1)


def test_it_scores_the_initial_weights_once() -> None:
    bench: Any = RecordingBench(prunable_layers(_net()), "0.8")
    ticket = Snip(per_class=3, batches=2).find(bench)
    assert ticket.weights.key == "init"
    assert bench.asked == ["init", "snip_masks(init, {'keep': 7, 'per_class': 3, 'batches': 2, 'rounds': 1})"]


def test_a_layer_that_takes_no_part_scores_nothing() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    masks, _ = _masks(Idle().double(), [_batch(0)], 12, 1)
    assert masks["used"].all()
    assert not masks["idle"].any()


def test_rounds_score_what_is_left_on_fresh_batches() -> None:
    """By hand: density 0.2^(1/3), 0.2^(2/3), 0.2 of 35 weights; each round's scores on two batches of its own."""
    net: Any = _net()
    batches = [_batch(number) for number in range(6)]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    masks, bench = _masks(net, batches, 7, 2, rounds=3)
    assert bench.asked == [(2, number) for number in range(6)]

    net.load_state_dict(state)
    left = {name: torch.ones_like(net[int(name)].weight, dtype=torch.bool) for name in ("0", "2")}
    for number, keep in enumerate((20, 12, 7)):
        with torch.no_grad():
            for name, mask in left.items():
                net[int(name)].weight.mul_(mask)
            parts = [_by_hand(net, *batches[own]) for own in (2 * number, 2 * number + 1)]
            scores = _scores(net, {name: parts[0][name] + parts[1][name] for name in left})
            found = keep_largest({name: torch.where(left[name], score, -1.0) for name, score in scores.items()}, keep)
        assert all((left[name] | ~found[name]).all() for name in left)
        left = found
    assert all(torch.equal(masks[name], left[name]) for name in left)
    once, _ = _masks(net, batches, 7, 2)
    assert any(not torch.equal(once[name], masks[name]) for name in masks)


def test_a_net_that_scores_nothing_but_zeros_is_refused() -> None:
    net: Any = _net()
    with torch.no_grad():
        net[2].weight.zero_()
    with pytest.raises(ValueError, match=r"every weight scores zero, so the scores choose none: .* `weights` of the"):
        _masks(net, [_batch(0)], 12, 1)
