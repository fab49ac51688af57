"""Masks that change while a network trains: what is zeroed, what starts anew, what a resume keeps, what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tiny_training import ADAM, IMAGES, SGD, Noise, make_masks, make_net, make_recipe
from torch.nn import functional as F
from updaters import Halves, Watching, seen

from methods.layers import prunable_layers
from methods.masks import keep_largest_per_layer
from methods.updater import Change, Moment, Updater
from orchestrator.engine.masking import Updating, masks_in
from orchestrator.engine.seeds import generator
from orchestrator.engine.train import Diverged, Trainer


def _trainer(options: dict[str, Any], updater: Updater, cost: Any = lambda densities: 0.0) -> Trainer:
    net = make_net()
    return Trainer(
        net,
        Noise(),
        IMAGES,
        make_recipe(**options),
        5,
        0,
        make_masks(net),
        Updating(updater, prunable_layers(net)),
        cost,
    )


def _saved(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


@pytest.mark.parametrize("options", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("stop", range(1, 12))
def test_a_run_broken_off_at_any_step_gives_the_same_masks_and_bits(options: dict[str, Any], stop: int) -> None:
    whole = _trainer(options, Halves(3))
    whole.run(12)
    part = _trainer(options, Halves(3))
    part.run(stop)
    saved = _saved(part.state())
    torch.manual_seed(stop)
    part = _trainer(options, Halves(3))
    part.restore(saved)
    part.run(12)
    left, right = _saved(whole.state()), _saved(part.state())
    left.pop("progress/json"), right.pop("progress/json")
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert [record["sparsity"] for record in part.progress.history] == [
        record["sparsity"] for record in whole.progress.history
    ]


@pytest.mark.parametrize("options", [SGD, ADAM], ids=["sgd", "adam"])
def test_what_is_removed_or_comes_back_is_zero_with_all_that_the_optimiser_knows_of_it(options: dict[str, Any]) -> None:
    trainer = _trainer(options, Halves(2))
    trainer.run(3)
    before = {name: factor.clone() for name, factor in trainer.masking.factors.items()}
    trainer.run(4)
    slots = 0
    for name, parameter in trainer.masking.parameters.items():
        now = trainer.masking.factors[name]
        assert not torch.equal(now, before[name]), "other weights are kept"
        fresh = (now > 0) & (before[name] == 0)
        stayed = (now > 0) & (before[name] > 0)
        for value in [parameter, *trainer.optimiser.state[parameter].values()]:
            if value.shape == parameter.shape:
                assert not value[now == 0].any()
                assert not value[fresh].any(), "comes back as nothing"
                assert value[stayed].any()
                slots += 1
    assert slots == 4 * (2 if options is SGD else 3), "weights, and each of the optimiser's tensors"


def test_a_position_that_is_reset_starts_from_zero_though_it_was_kept() -> None:
    trainer = _trainer(SGD, Halves(2, reset=True))
    trainer.run(2)
    for parameter in trainer.masking.parameters.values():
        assert not parameter.any()
        assert not trainer.optimiser.state[parameter]["momentum_buffer"].any()


def test_an_updater_sees_the_gradients_of_removed_weights_and_the_weights_after_the_step() -> None:
    recipe = {**SGD, "weight_decay": 0.1, "label_smoothing": 0.0}
    twin = _trainer(recipe, Halves(100))
    net: Any = twin.net
    net.dropout.p = 0.0
    twin.run(1)
    order = twin.data.order(generator(5, "order", 0))
    images, labels = Noise().train(order[8:16], generator(5, "augmentation", 1))
    net.zero_grad()
    F.cross_entropy(net(images), labels).backward()
    wanted = {name: net.get_parameter(f"{name}.weight").grad.clone() for name in ("conv1", "fc")}

    seen.clear()
    trainer = _trainer(recipe, Watching())
    trainer.net.dropout.p = 0.0  # type: ignore[union-attr]
    trainer.run(2)
    (moment,) = seen
    assert (moment.step, moment.steps) == (2, 12)
    for name, gradient in wanted.items():
        torch.testing.assert_close(moment.gradients[name], gradient, atol=1e-6, rtol=1e-4)
        assert moment.gradients[name][~moment.masks[name]].any(), "of removed weights too"
        assert not moment.weights[name][~moment.masks[name]].any()
        assert torch.equal(moment.weights[name], trainer.net.get_parameter(f"{name}.weight").data)


class _Largest(Halves):
    """Ranks weights and gradients, which refuses what is not finite."""

    def change(self, moment: Moment) -> Change:
        keep = {name: mask.numel() // 2 for name, mask in moment.masks.items()}
        keep_largest_per_layer(moment.gradients, keep)
        return Change(keep_largest_per_layer(moment.weights, keep))


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_training_that_diverges_where_masks_change_is_diverged_and_no_updaters_fault(every: int) -> None:
    with pytest.raises(Diverged, match="not finite at step"):
        _trainer({**SGD, "lr": 1e25}, _Largest(every)).run(12)


def test_weights_that_are_not_finite_are_seen_before_the_loss_is() -> None:
    trainer = _trainer({**SGD, "lr": 1e25}, _Largest(1))
    trainer.optimiser.register_step_post_hook(lambda *_: trainer.net.get_parameter("fc.weight").data.fill_(math.inf))
    with pytest.raises(Diverged, match="a weight or its gradient is not finite at step 1"):
        trainer.run(1)


class _Wrong(Halves):
    def change(self, moment: Moment) -> Change:
        return Change({name: mask[:1] for name, mask in moment.masks.items()})


def test_masks_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="the mask of layer 'conv1' is bool of shape"):
        _trainer(SGD, _Wrong(2)).run(2)


def test_the_state_holds_the_masks_by_layer_and_history_the_sparsity() -> None:
    trainer = _trainer(SGD, Halves(2))
    trainer.run(12)
    masks = masks_in(trainer.state())
    assert set(masks) == {"conv1", "depthwise", "point", "fc"}
    for name, mask in masks.items():
        assert mask.dtype == torch.bool
        assert int(mask.sum()) == mask.numel() // 2
        assert not trainer.net.get_parameter(f"{name}.weight")[~mask].any()
    assert trainer.progress.history[-1]["sparsity"] == pytest.approx(0.5, abs=0.01)


def test_multiply_accumulates_follow_the_density() -> None:
    """12 steps of 22 images an epoch: 3 forward passes' worth each. Density: what the masks keep until step 6, a half
    from there on."""

    def cost(densities: Mapping[str, float]) -> float:
        assert set(densities) == {"conv1.weight", "depthwise.weight", "point.weight", "fc.weight"}
        return 1000 * densities["conv1.weight"]

    trainer = _trainer(SGD, Halves(6), cost)
    first = make_masks(make_net())["conv1.weight"].double().mean().item()
    trainer.run(12)
    assert trainer.progress.macs == pytest.approx(3 * 1000 * (2 * IMAGES * first + 2 * IMAGES * 0.5))
