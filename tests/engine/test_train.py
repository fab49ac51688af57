"""Training: removed weights stay zero, every formula by hand, and divergence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from tiny_training import (
    ADAM,
    BATCH,
    BF16,
    CLASSES,
    IMAGES,
    SGD,
    Noise,
    make_masks,
    make_net,
    make_recipe,
    make_trainer,
)
from torch import nn
from torch.nn import functional as F

from orchestrator.engine import train
from orchestrator.engine.evaluating import Batch, evaluate
from orchestrator.engine.seeds import generator
from orchestrator.engine.train import Diverged, Trainer, learning_rate, steps_per_epoch

# Removed weights


@pytest.mark.parametrize("options", [SGD, {**SGD, "nesterov": False}, ADAM, BF16], ids=["sgd", "plain", "adam", "bf16"])
def test_removed_weights_are_zero_after_every_step(options: dict[str, Any]) -> None:
    trainer = make_trainer(make_recipe(weight_decay=0.1, **options))
    masks = make_masks(trainer.net)
    named = dict(trainer.net.named_parameters())
    before = {name: named[name].detach().clone() for name in masks}
    steps = []

    def look(*_: Any) -> None:
        steps.append([bool((named[name][~mask] != 0).any()) for name, mask in masks.items()])

    trainer.optimiser.register_step_post_hook(look)
    trainer.run(12)
    assert len(steps) == 12
    assert not any(itertools.chain.from_iterable(steps))
    for name, mask in masks.items():
        assert (named[name][mask] != before[name][mask]).all(), f"{name}: kept weights must train"


def test_the_weights_under_the_mask_are_zero_before_the_first_step() -> None:
    trainer = make_trainer(make_recipe())
    for name, mask in make_masks(trainer.net).items():
        assert not trainer.net.state_dict()[name][~mask].any()


# bfloat16


def test_bfloat16_multiplies_in_bfloat16_while_training_and_keeps_all_else_in_float32() -> None:
    trainer = make_trainer(make_recipe(**BF16))
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    for name in ("conv1", "point", "fc"):
        layer = trainer.net.get_submodule(name)
        layer.register_forward_hook(lambda layer, _, output: seen[layer.training].add(output.dtype))
    trainer.run(3)
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}, "evaluation is as without"
    state = {name: value.dtype for name, value in trainer.state().items() if name != "progress/json"}
    assert set(state.values()) == {torch.float32, torch.int64}
    assert [name for name, dtype in state.items() if dtype == torch.int64] == ["bn.num_batches_tracked"]
    assert {parameter.grad.dtype for parameter in trainer.net.parameters() if parameter.grad is not None} == {
        torch.float32
    }


def test_a_step_in_bfloat16_is_nearly_that_in_float32() -> None:
    single, half = make_trainer(make_recipe(**SGD)), make_trainer(make_recipe(**BF16))
    before = [parameter.detach().clone() for parameter in single.net.parameters()]
    for trainer in (single, half):
        trainer.run(1)
    pairs = list(zip(before, single.net.parameters(), half.net.parameters(), strict=True))
    assert any(not torch.equal(one, other) for _, one, other in pairs)
    moved = torch.cat([(one - old).flatten() for old, one, _ in pairs])
    apart = torch.cat([(other - one).flatten() for _, one, other in pairs])
    assert 0 < apart.norm() < 0.05 * moved.norm(), "bfloat16 holds 8 bits: an error of about 0.4 % a product"


# Formulas by hand


def test_learning_rates_of_milestones_with_warm_up_by_hand() -> None:
    recipe = make_recipe(lr=0.8, schedule={"name": "milestones", "at": ["2ep", "7it"], "gamma": 0.5, "warmup": "3it"})
    rates = [learning_rate(recipe, step, 3) for step in range(9)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.4, 0.2, 0.2])


def test_learning_rates_of_cosine_by_hand() -> None:
    recipe = make_recipe(epochs=2, lr=1.0, schedule={"name": "cosine", "warmup": "1it"})
    rates = [learning_rate(recipe, step, 2) for step in range(4)]
    assert rates == pytest.approx([0.5, 1.0, 0.75, 0.25])
    recipe = make_recipe(epochs=2, lr=1.0, schedule={"name": "cosine"})
    assert learning_rate(recipe, 1, 2) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_a_constant_rate_is_the_default() -> None:
    assert {learning_rate(make_recipe(lr=0.3), step, 3) for step in range(12)} == {0.3}


def test_the_optimiser_is_given_the_schedules_rate() -> None:
    trainer = make_trainer(make_recipe(lr=0.8, schedule={"name": "milestones", "at": ["1ep"]}))
    rates: list[float] = []
    trainer.optimiser.register_step_pre_hook(lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"]))
    trainer.run(6)
    assert rates == pytest.approx([0.8] * 3 + [0.08] * 3)
    assert [record["lr"] for record in trainer.progress.history] == pytest.approx([0.8, 0.08])


@pytest.mark.parametrize(
    ("images", "batch", "steps"), [(22, 8, 3), (24, 8, 3), (25, 8, 3), (26, 8, 4), (1, 8, 1), (5, 8, 1), (3, 1, 3)]
)
def test_steps_of_an_epoch(images: int, batch: int, steps: int) -> None:
    """A last batch of one image is left out."""
    assert steps_per_epoch(images, batch) == steps


def _linear_trainer(**changes: Any) -> tuple[Trainer, Noise]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES, bias=False)).double()
    data = Noise()
    data.images = data.images.double()
    return Trainer(net, data, IMAGES, make_recipe(**changes), 5, 0), data


def _softmax_loss(weight: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    logits = images.flatten(1) @ weight.T
    log_p = logits - torch.logsumexp(logits, 1, keepdim=True)
    target = torch.full_like(logits, smoothing / CLASSES)
    target[torch.arange(len(labels)), labels] += 1 - smoothing
    return -(target * log_p).sum(1).mean()


def test_three_steps_with_label_smoothing_momentum_and_weight_decay_by_hand() -> None:
    trainer, data = _linear_trainer(lr=0.1, momentum=0.5, weight_decay=0.2, label_smoothing=0.3)
    weight = trainer.net.get_parameter("1.weight").detach().clone()
    velocity = torch.zeros_like(weight)
    order, loss_sum = data.order(generator(5, "order", 0)), 0.0
    for step in range(3):
        images, labels = data.train(order[step * BATCH : (step + 1) * BATCH], generator(5, "augmentation", step))
        weight.requires_grad_(True)
        loss = _softmax_loss(weight, images, labels, 0.3)
        (gradient,) = torch.autograd.grad(loss, weight)
        loss_sum += loss.item() * len(labels)
        velocity = 0.5 * velocity + gradient + 0.2 * weight.detach()
        weight = weight.detach() - 0.1 * velocity
    trainer.run(3)
    torch.testing.assert_close(trainer.net.get_parameter("1.weight").detach(), weight, rtol=1e-10, atol=1e-12)
    assert trainer.progress.history[0]["loss/train"] == pytest.approx(loss_sum / IMAGES)


def test_every_epoch_goes_through_all_images_in_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, data = _linear_trainer(lr=0.1)
    seen: list[torch.Tensor] = []
    plain = Noise.train
    monkeypatch.setattr(Noise, "train", lambda self, own, draw: seen.append(own) or plain(self, own, draw))
    trainer.run(6)
    for epoch in range(2):
        order = data.order(generator(5, "order", epoch))
        assert torch.cat(seen[3 * epoch : 3 * epoch + 3]).tolist() == order.tolist()
    assert seen[0].tolist() != seen[3].tolist()


def test_evaluate_counts_over_all_batches_and_keeps_the_mode() -> None:
    net: Any = make_net()
    data = Noise()
    net.train()
    before = net.bn.running_mean.clone()
    measured = evaluate(net, data, "test")
    assert measured is not None
    assert net.training
    assert torch.equal(net.bn.running_mean, before)
    net.eval()
    with torch.no_grad():
        logits = net(data.images[:15])
    right = logits.argmax(1) == data.labels[:15]
    assert measured.correct.tolist() == right.tolist()
    assert measured.accuracy == right.sum().item() / 15
    assert measured.loss == pytest.approx(F.cross_entropy(logits, data.labels[:15]).item(), rel=1e-5)


def test_no_validation_images_means_no_validation_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Noise, "evaluation", lambda self, split: iter(()))
    trainer = make_trainer(make_recipe())
    trainer.run(3)
    assert set(trainer.progress.history[0]) == {"epoch", "lr", "loss/train", "time"}


# Divergence


def test_a_loss_that_is_not_finite_diverges() -> None:
    trainer, _ = _linear_trainer(lr=1e300, weight_decay=1e10)
    with pytest.raises(Diverged, match=r"training loss is not finite at step [12]"):
        trainer.run(12)


class Spoilt(Noise):
    """The images of one step are not finite."""

    def training(self, plan: Iterable[tuple[torch.Tensor, torch.Generator]]) -> Iterator[Batch]:
        for step, (images, labels) in enumerate(super().training(plan)):
            yield images * (torch.nan if step == 4 else 1), labels


@pytest.mark.parametrize("waiting", [1, 2, 32])
def test_a_loss_looked_at_later_diverges_at_its_own_step(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "WAITING", waiting)
    trainer = Trainer(make_net(), Spoilt(), IMAGES, make_recipe(**SGD), 5, 0, cost=lambda _: 10.0)
    with pytest.raises(Diverged, match="not finite at step 4"):
        trainer.run(12)
    assert trainer.progress.step == 5
    assert len(trainer.progress.history) == 1
    assert trainer.progress.macs == 3 * 10 * (IMAGES + 2 * BATCH)


@pytest.mark.parametrize("waiting", [1, 2])
def test_when_losses_are_looked_at_changes_nothing(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = make_trainer(make_recipe(**SGD))
    usual.run(8)
    monkeypatch.setattr(train, "WAITING", waiting)
    other = make_trainer(make_recipe(**SGD))
    other.run(8)
    usual.progress.history, other.progress.history = [], []  # which say when
    assert usual.progress == other.progress
    assert usual.progress.images == 2 * BATCH


def test_a_weight_that_is_not_finite_at_the_end_diverges() -> None:
    trainer = make_trainer(make_recipe())
    with torch.no_grad():
        trainer.net.get_parameter("idle")[0] = torch.inf  # takes no part in the loss
    with pytest.raises(Diverged, match="a weight is not finite at step 3"):
        trainer.run(3)


@pytest.mark.parametrize("options", [SGD, {"momentum": 0.0}, ADAM])
def test_a_block_that_is_skipped_at_first_trains_later(options: dict[str, Any]) -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.block, self.steps = nn.Linear(108, 3), nn.Linear(108, 3), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps += 1
            return self.fc(x.flatten(1)) + (self.block(x.flatten(1)) if self.steps > 1 else 0)

    net = Skips()
    before = net.block.weight.clone()
    trainer = Trainer(net, Noise(), IMAGES, make_recipe(weight_decay=0.0, **options), 0, 0)
    trainer.run(1)
    assert torch.equal(net.block.weight, before)
    trainer.run(2)
    assert not torch.equal(net.block.weight, before)


def test_momentum_begins_as_torchs_own() -> None:
    """Buffers that begin at zero give, to the bit, what torch makes of its first gradient."""
    ours, plain = make_trainer(make_recipe(**SGD)), make_trainer(make_recipe(**SGD))
    plain.optimiser.state.clear()
    ours.run(5)
    plain.run(5)
    assert all(torch.equal(value, plain.net.state_dict()[name]) for name, value in ours.net.state_dict().items())
