"""A run broken off anywhere gives the same bits, and the fused optimiser the plain one's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_training import ADAM, BF16, SGD, make_net, make_recipe, make_trainer
from torch.nn import functional as F

from orchestrator.engine.train import Trainer, weights_of


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


# Broken off and continued


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=["nhwc", "nchw"])
@pytest.mark.parametrize("options", [SGD, ADAM, BF16], ids=["sgd", "adam", "bfloat16"])
@pytest.mark.parametrize("stops", [(1,), (4,), (3,), (6,), (11,), (2, 5), (3, 6, 7, 8)], ids=str)
def test_a_run_broken_off_anywhere_gives_the_same_bits(
    stops: tuple[int, ...], options: dict[str, Any], memory_format: torch.memory_format
) -> None:
    """Mid-epoch, at an epoch's end, one step before the end, twice, and step by step."""
    recipe = make_recipe(**options)
    whole = make_trainer(recipe, memory_format=memory_format)
    whole.run(12)
    part = make_trainer(recipe, memory_format=memory_format)
    for stop in stops:
        part.run(stop)
        saved = _saved(part.state())
        torch.manual_seed(stop)  # another process has drawn other numbers
        part = make_trainer(recipe, memory_format=memory_format)
        part.restore(saved)
        assert part.progress.step == stop
    part.run(12)
    assert _bits(part) == _bits(whole)
    assert _same_history(part, whole)
    assert len(whole.progress.history) == 4


def test_a_checkpoint_taken_in_passing_changes_nothing_and_continues() -> None:
    whole, passing = make_trainer(make_recipe(**SGD)), make_trainer(make_recipe(**SGD))
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
        continued = make_trainer(make_recipe(**SGD))
        continued.restore(state)
        continued.run(12)
        assert _bits(continued) == _bits(whole)
        assert _same_history(continued, whole)


def test_what_on_step_raises_leaves_a_state_that_continues() -> None:
    whole, stopped = make_trainer(make_recipe(**SGD)), make_trainer(make_recipe(**SGD))
    whole.run(12)

    def stop() -> None:
        if stopped.progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.run(12, on_step=stop)
    continued = make_trainer(make_recipe(**SGD))
    continued.restore(_saved(stopped.state()))
    continued.run(12)
    assert _bits(continued) == _bits(whole)


def test_batch_norm_and_dropout_are_what_the_resume_is_tested_on() -> None:
    trainer = make_trainer(make_recipe(**SGD))
    trainer.run(5)
    assert int(trainer.state()["bn.num_batches_tracked"]) == 5
    assert not torch.equal(trainer.state()["bn.running_mean"], torch.zeros(8))
    undrawn = make_trainer(make_recipe(**SGD))
    undrawn.net.get_submodule("dropout").p = 0.0  # type: ignore[assignment]
    undrawn.run(5)
    assert _bits(undrawn) != _bits(trainer)


def test_every_step_draws_anew_for_dropout() -> None:
    trainer = make_trainer(make_recipe(**SGD))
    seeds: list[int] = []
    trainer.net.get_submodule("dropout").register_forward_pre_hook(
        lambda module, _: seeds.append(torch.initial_seed()) if module.training else None
    )
    trainer.run(7)
    assert len(set(seeds)) == 7


def test_a_net_that_was_being_measured_trains_in_training_mode() -> None:
    trainer = make_trainer(make_recipe(**SGD))
    trainer.net.eval()
    trainer.run(2)
    assert int(trainer.state()["bn.num_batches_tracked"]) == 2


def test_another_seed_gives_another_order() -> None:
    left, right = make_trainer(make_recipe(**SGD), seed=5), make_trainer(make_recipe(**SGD), seed=6)
    left.run(3)
    right.run(3)
    assert _bits(left) != _bits(right)


# The fused optimiser


@pytest.mark.parametrize("options", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("stop", [None, 4])
def test_the_fused_optimiser_agrees_with_the_plain_one(options: dict[str, Any], stop: int | None) -> None:
    fused, plain = make_trainer(make_recipe(**options)), make_trainer(make_recipe(**options))
    make: Any = type(plain.optimiser)
    defaults = {key: plain.optimiser.defaults[key] for key in ("lr", "weight_decay")}
    if options is SGD:
        defaults |= {"momentum": 0.9, "nesterov": True}
    assert fused.optimiser.defaults["fused"] is True
    plain.optimiser = make(list(plain.net.parameters()), fused=False, foreach=False, **defaults)
    if stop:
        fused.run(stop)
        saved = _saved(fused.state())
        fused = make_trainer(make_recipe(**options))
        fused.restore(saved)
    fused.run(12)
    plain.run(12)
    for name, value in weights_of(plain.state()).items():
        torch.testing.assert_close(fused.state()[name], value, rtol=2e-4, atol=2e-5, msg=name)


@pytest.mark.parametrize("options", [SGD, ADAM], ids=["sgd", "adam"])
def test_the_optimisers_tensors_keep_their_parameters_strides_after_a_resume(options: dict[str, Any]) -> None:
    trainer = make_trainer(make_recipe(**options))
    trainer.run(2)
    saved = _saved(trainer.state())
    slots = [slot for state in trainer.optimiser.state.values() for slot in state.values()]
    assert any(not slot.is_contiguous() for slot in slots)
    continued = make_trainer(make_recipe(**options))
    continued.restore(saved)
    compared = 0
    for parameter, slots in continued.optimiser.state.items():
        for slot in slots.values():
            if slot.shape == parameter.shape:
                assert slot.stride() == parameter.stride()
                compared += 1
    assert compared == (10 if options is SGD else 18)  # Adam keeps nothing for a parameter without a gradient


def test_gradients_have_their_parameters_strides_whatever_the_images_strides() -> None:
    """The fused optimiser walks the two memories side by side, so it trusts that they are laid out alike."""
    for memory_format in (torch.channels_last, torch.contiguous_format):
        for images in (torch.channels_last, torch.contiguous_format):
            net = make_net(memory_format)
            batch = torch.randn(4, 3, 6, 6).to(memory_format=images)
            F.cross_entropy(net(batch), torch.zeros(4, dtype=torch.long)).backward()
            for name, parameter in net.named_parameters():
                if parameter.grad is not None and parameter.numel() > 1:
                    wanted = [s for s, n in zip(parameter.stride(), parameter.shape, strict=True) if n > 1]
                    got = [s for s, n in zip(parameter.grad.stride(), parameter.shape, strict=True) if n > 1]
                    assert got == wanted, name
