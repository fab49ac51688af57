"""Training: removed weights stay zero, a run broken off anywhere gives the same bits, and every formula by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orchestrator.engine.seeds import generator
from orchestrator.engine.train import Diverged, Trainer, evaluate, learning_rate, steps_per_epoch, weights_of
from orchestrator.spec.models import Recipe

IMAGES, CLASSES, BATCH = 22, 3, 8  # 3 steps an epoch, the last of 6 images
SGD: dict[str, Any] = {"optimiser": "sgd", "momentum": 0.9, "nesterov": True}
ADAM: dict[str, Any] = {"optimiser": "adam", "lr": 0.01}


class Noise:
    """22 random images with a fresh draw of noise a step, as augmentation would draw."""

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(1)
        self.images = torch.randn(IMAGES, 3, 6, 6, generator=source).to(memory_format=torch.channels_last)
        self.labels = torch.randint(CLASSES, (IMAGES,), generator=source)

    def order(self, generator: torch.Generator) -> torch.Tensor:
        return torch.randperm(IMAGES, generator=generator)

    def train(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        images = self.images[indices]
        return images + 0.1 * torch.randn(images.shape, generator=generator), self.labels[indices]

    def evaluation(self, split: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield self.images[:10], self.labels[:10]
        yield self.images[10:15], self.labels[10:15]


class Net(nn.Module):
    """All that a resume can lose: batch norm's buffers, dropout's draws, 1x1 and depthwise layers, and a
    parameter that takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.point = nn.Conv2d(8, 4, 1, bias=False)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(4, CLASSES)
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.conv1(x)))
        return self.fc(self.dropout(torch.relu(self.point(self.depthwise(x))).mean((2, 3))))


def _recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(
        {"epochs": 4, "batch": BATCH, "lr": 0.05, "weight_decay": 0.01, "label_smoothing": 0.1, **changes}
    )


def _net(memory_format: torch.memory_format = torch.channels_last) -> nn.Module:
    torch.manual_seed(7)
    return Net().to(memory_format=memory_format)


def _masks(net: nn.Module) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    named = dict(net.named_parameters())
    return {
        name: torch.rand(named[name].shape, generator=source) < 0.4
        for name in ("conv1.weight", "depthwise.weight", "point.weight", "fc.weight")
    }


def _trainer(
    recipe: Recipe, start: int = 0, seed: int = 5, memory_format: torch.memory_format = torch.channels_last
) -> Trainer:
    net = _net(memory_format)
    return Trainer(net, Noise(), IMAGES, recipe, seed, start, _masks(net))


def _saved(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a file gives back: plain contiguous copies."""
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def _bits(trainer: Trainer) -> dict[str, bytes]:
    state = _saved(trainer.state())
    state.pop("progress/json")
    return {name: value.numpy().tobytes() for name, value in state.items()}


def _same_history(left: Trainer, right: Trainer) -> bool:
    return [{**record, "time": 0} for record in left.progress.history] == [
        {**record, "time": 0} for record in right.progress.history
    ]


# Removed weights


@pytest.mark.parametrize("options", [SGD, {**SGD, "nesterov": False}, ADAM], ids=["nesterov", "momentum", "adam"])
def test_removed_weights_are_zero_after_every_step(options: dict[str, Any]) -> None:
    trainer = _trainer(_recipe(weight_decay=0.1, **options))
    masks = _masks(trainer.net)
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
    trainer = _trainer(_recipe())
    for name, mask in _masks(trainer.net).items():
        assert not trainer.net.state_dict()[name][~mask].any()


# Broken off and continued


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("options", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("stops", [(1,), (4,), (3,), (6,), (11,), (2, 5), (3, 6, 7, 8)], ids=str)
def test_a_run_broken_off_anywhere_gives_the_same_bits(
    stops: tuple[int, ...], options: dict[str, Any], memory_format: torch.memory_format
) -> None:
    """Mid-epoch, at an epoch's end, one step before the end, twice, and step by step."""
    recipe = _recipe(**options)
    whole = _trainer(recipe, memory_format=memory_format)
    whole.run(12)
    part = _trainer(recipe, memory_format=memory_format)
    for stop in stops:
        part.run(stop)
        saved = _saved(part.state())
        torch.manual_seed(stop)  # another process has drawn other numbers
        part = _trainer(recipe, memory_format=memory_format)
        part.restore(saved)
        assert part.progress.step == stop
    part.run(12)
    assert _bits(part) == _bits(whole)
    assert _same_history(part, whole)
    assert len(whole.progress.history) == 4


def test_a_checkpoint_taken_in_passing_changes_nothing_and_continues() -> None:
    whole, passing = _trainer(_recipe(**SGD)), _trainer(_recipe(**SGD))
    whole.run(12)
    kept: dict[int, dict[str, torch.Tensor]] = {}
    passing.run(
        12,
        due=lambda: True,
        checkpoint=lambda: kept.update({passing.progress.step: _saved(passing.state())}),
    )
    assert sorted(kept) == list(range(1, 12))
    assert _bits(passing) == _bits(whole)
    for state in kept.values():
        continued = _trainer(_recipe(**SGD))
        continued.restore(state)
        continued.run(12)
        assert _bits(continued) == _bits(whole)
        assert _same_history(continued, whole)


def test_what_on_step_raises_leaves_a_state_that_continues() -> None:
    whole, stopped = _trainer(_recipe(**SGD)), _trainer(_recipe(**SGD))
    whole.run(12)

    def stop() -> None:
        if stopped.progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.run(12, on_step=stop)
    continued = _trainer(_recipe(**SGD))
    continued.restore(_saved(stopped.state()))
    continued.run(12)
    assert _bits(continued) == _bits(whole)


def test_batch_norm_and_dropout_are_what_the_resume_is_tested_on() -> None:
    trainer = _trainer(_recipe(**SGD))
    trainer.run(5)
    assert int(trainer.state()["bn.num_batches_tracked"]) == 5
    assert not torch.equal(trainer.state()["bn.running_mean"], torch.zeros(8))
    undrawn = _trainer(_recipe(**SGD))
    undrawn.net.get_submodule("dropout").p = 0.0  # type: ignore[assignment]
    undrawn.run(5)
    assert _bits(undrawn) != _bits(trainer)


def test_every_step_draws_anew_for_dropout() -> None:
    trainer = _trainer(_recipe(**SGD))
    seeds: list[int] = []
    trainer.net.get_submodule("dropout").register_forward_pre_hook(
        lambda module, _: seeds.append(torch.initial_seed()) if module.training else None
    )
    trainer.run(7)
    assert len(set(seeds)) == 7


def test_a_net_that_was_being_measured_trains_in_training_mode() -> None:
    trainer = _trainer(_recipe(**SGD))
    trainer.net.eval()
    trainer.run(2)
    assert int(trainer.state()["bn.num_batches_tracked"]) == 2


def test_another_seed_gives_another_order() -> None:
    left, right = _trainer(_recipe(**SGD), seed=5), _trainer(_recipe(**SGD), seed=6)
    left.run(3)
    right.run(3)
    assert _bits(left) != _bits(right)


# The fused optimiser


@pytest.mark.parametrize("options", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("stop", [None, 4])
def test_the_fused_optimiser_agrees_with_the_plain_one(options: dict[str, Any], stop: int | None) -> None:
    fused, plain = _trainer(_recipe(**options)), _trainer(_recipe(**options))
    make: Any = type(plain.optimiser)
    defaults = {key: plain.optimiser.defaults[key] for key in ("lr", "weight_decay")}
    if options is SGD:
        defaults |= {"momentum": 0.9, "nesterov": True}
    assert fused.optimiser.defaults["fused"] is True
    plain.optimiser = make(list(plain.net.parameters()), fused=False, foreach=False, **defaults)
    if stop:
        fused.run(stop)
        saved = _saved(fused.state())
        fused = _trainer(_recipe(**options))
        fused.restore(saved)
    fused.run(12)
    plain.run(12)
    for name, value in weights_of(plain.state()).items():
        torch.testing.assert_close(fused.state()[name], value, rtol=2e-4, atol=2e-5, msg=name)


@pytest.mark.parametrize("options", [SGD, ADAM], ids=["sgd", "adam"])
def test_the_optimisers_tensors_keep_their_parameters_strides_after_a_resume(options: dict[str, Any]) -> None:
    trainer = _trainer(_recipe(**options))
    trainer.run(2)
    saved = _saved(trainer.state())
    slots = [slot for state in trainer.optimiser.state.values() for slot in state.values()]
    assert any(not slot.is_contiguous() for slot in slots)
    continued = _trainer(_recipe(**options))
    continued.restore(saved)
    compared = 0
    for parameter, slots in continued.optimiser.state.items():
        for slot in slots.values():
            if slot.shape == parameter.shape:
                assert slot.stride() == parameter.stride()
                compared += 1
    assert compared == (9 if options is SGD else 18)


def test_gradients_have_their_parameters_strides_whatever_the_images_strides() -> None:
    """The fused optimiser walks the two memories side by side, so it trusts that they are laid out alike."""
    for memory_format in (torch.channels_last, torch.contiguous_format):
        for images in (torch.channels_last, torch.contiguous_format):
            net = _net(memory_format)
            batch = torch.randn(4, 3, 6, 6).to(memory_format=images)
            F.cross_entropy(net(batch), torch.zeros(4, dtype=torch.long)).backward()
            for name, parameter in net.named_parameters():
                if parameter.grad is not None and parameter.numel() > 1:
                    wanted = [s for s, n in zip(parameter.stride(), parameter.shape, strict=True) if n > 1]
                    got = [s for s, n in zip(parameter.grad.stride(), parameter.shape, strict=True) if n > 1]
                    assert got == wanted, name


# Formulas by hand


def test_learning_rates_of_milestones_with_warm_up_by_hand() -> None:
    recipe = _recipe(lr=0.8, schedule={"name": "milestones", "at": ["2ep", "7it"], "gamma": 0.5, "warmup": "3it"})
    rates = [learning_rate(recipe, step, 3) for step in range(9)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.4, 0.2, 0.2])


def test_learning_rates_of_cosine_by_hand() -> None:
    recipe = _recipe(epochs=2, lr=1.0, schedule={"name": "cosine", "warmup": "1it"})
    rates = [learning_rate(recipe, step, 2) for step in range(4)]
    assert rates == pytest.approx([0.5, 1.0, 0.75, 0.25])
    recipe = _recipe(epochs=2, lr=1.0, schedule={"name": "cosine"})
    assert learning_rate(recipe, 1, 2) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_a_constant_rate_is_the_default() -> None:
    assert {learning_rate(_recipe(lr=0.3), step, 3) for step in range(12)} == {0.3}


def test_the_optimiser_is_given_the_schedules_rate() -> None:
    trainer = _trainer(_recipe(lr=0.8, schedule={"name": "milestones", "at": ["1ep"]}))
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
    return Trainer(net, data, IMAGES, _recipe(**changes), 5, 0), data


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


def test_evaluate_counts_over_all_batches_and_keeps_the_mode() -> None:
    net: Any = _net()
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
    trainer = _trainer(_recipe())
    trainer.run(3)
    assert set(trainer.progress.history[0]) == {"epoch", "lr", "loss/train", "time"}


# Divergence


def test_a_loss_that_is_not_finite_diverges() -> None:
    trainer, _ = _linear_trainer(lr=1e300, weight_decay=1e10)
    with pytest.raises(Diverged, match=r"training loss is not finite at step [12]"):
        trainer.run(12)


def test_a_weight_that_is_not_finite_at_the_end_diverges() -> None:
    trainer = _trainer(_recipe())
    with torch.no_grad():
        trainer.net.get_parameter("idle")[0] = torch.inf  # takes no part in the loss
    with pytest.raises(Diverged, match="a weight is not finite at step 3"):
        trainer.run(3)
