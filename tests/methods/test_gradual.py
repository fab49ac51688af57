"""Gradual pruning: the schedule's values, whole counts, and which weights go."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pydantic
import pytest
import torch
from benches import RecordingBench
from moments import moment, positions, trained

from methods import budget
from methods.gmp import Gmp, Gradual
from methods.gradual import Cubic, GradualPruning
from methods.layers import Layer

LAYERS = (Layer("a", (60, 10)), Layer("b", (30, 10)), Layer("fc", (10, 10), True))
CIFAR = Cubic("0.5", "0.9", every=1000, begin=0, end=352 * 80)
"""GraNet's authors on CIFAR-10: 352 batches of 128 an epoch, until epoch 80, every 1,000 iterations: n = 28."""


@pytest.mark.parametrize(("k", "sparsity"), [(1, 0.5413), (5, 0.6783), (10, 0.7937), (20, 0.8907), (27, 0.9000)])
def test_the_schedule_has_the_papers_values(k: int, sparsity: float) -> None:
    assert float(CIFAR.sparsity(1000 * k)) == pytest.approx(sparsity, abs=5e-5)


def test_the_last_pruning_lands_on_the_target_and_the_references_does_not() -> None:
    theirs = Cubic("0.5", "0.9", 1000, 0, 352 * 80, exact=False)
    assert CIFAR.sparsity(27_000) == Decimal("0.9")
    missed = Decimal("0.9") - theirs.sparsity(27_000)
    assert float(missed) == pytest.approx(0.4 / 28**3)
    assert [CIFAR.sparsity(1000 * k) for k in range(1, 27)] == [theirs.sparsity(1000 * k) for k in range(1, 27)]
    # N - round(p N) against floor((1 - p) N)
    assert CIFAR.kept(20_024_000, 27_000) == 2_002_400
    assert theirs.kept(20_024_000, 27_000) == int((1 - theirs.sparsity(27_000)) * 20_024_000) == 2_002_764


def test_it_is_due_at_multiples_of_the_interval_within_the_window() -> None:
    assert [step for step in range(60_000) if CIFAR.due(step)] == [1000 * k for k in range(1, 28)]
    late = Cubic("0", "0.9", every=10, begin=25, end=60)  # k0 = 2, kf = 6
    assert [step for step in range(100) if late.due(step)] == [20, 30, 40, 50]
    assert [float(late.sparsity(step)) for step in (20, 30, 40, 50)] == pytest.approx([0, 0.5203125, 0.7875, 0.9])


# Which weights go


def test_global_pruning_by_hand() -> None:
    """8 weights, to half of them at step 1: the 4 largest over both layers."""
    now = moment({"a": [5, -1, 3, 2], "b": [-4, 0.5, 6, 1]}, {"a": [1] * 4, "b": [1] * 4})
    pruning = GradualPruning(Cubic("0", "0.5", every=1, begin=0, end=2))
    assert positions(pruning.masks(now)) == {"a": [1, 0, 1, 0], "b": [1, 0, 1, 0]}


def test_uniform_pruning_takes_the_same_fraction_of_each_layer() -> None:
    now = moment({"a": [5, -7, 3, 2], "b": [-0.4, 0.5, 0.6, 0.1]}, {"a": [1] * 4, "b": [1] * 4})
    schedule = Cubic("0", "0.5", every=1, begin=0, end=2)
    assert positions(GradualPruning(schedule).masks(now)) == {"a": [1] * 4, "b": [0] * 4}
    assert positions(GradualPruning(schedule, "uniform").masks(now)) == {"a": [1, 1, 0, 0], "b": [0, 1, 1, 0]}


def test_equal_weights_go_from_the_end_and_what_is_removed_never_comes_back() -> None:
    schedule = Cubic("0", "0.5", every=1, begin=0, end=2)
    now = moment({"a": [1, 1, 1], "b": [1, 1, 1]}, {"a": [1] * 3, "b": [1] * 3})
    assert positions(GradualPruning(schedule).masks(now)) == {"a": [1, 1, 1], "b": [0, 0, 0]}
    # a kept weight of zero is kept before one that was removed
    zeros = moment({"a": [0, 0, 0], "b": [0, 0, 0]}, {"a": [0, 0, 1], "b": [0, 1, 1]})
    assert positions(GradualPruning(schedule).masks(zeros)) == {"a": [0, 0, 1], "b": [0, 1, 1]}


def test_the_classifier_keeps_its_floor_and_the_others_absorb_it() -> None:
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in LAYERS}
    free = GradualPruning(CIFAR, "uniform")
    floor = GradualPruning(CIFAR, "uniform", "fc", "0.2")
    # at 0.8 and below nothing differs; at 0.9 the classifier keeps 20 of 100, the others 80 of 900
    assert free.counts(masks, 300) == floor.counts(masks, 300) == {"a": 180, "b": 90, "fc": 30}
    assert free.counts(masks, 200) == floor.counts(masks, 200) == {"a": 120, "b": 60, "fc": 20}
    assert free.counts(masks, 100) == {"a": 60, "b": 30, "fc": 10}
    assert floor.counts(masks, 100) == {"a": 53, "b": 27, "fc": 20}


def test_a_layer_that_has_less_than_its_fraction_keeps_it_and_the_others_share_the_rest() -> None:
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in LAYERS}
    masks["a"].view(-1)[60:] = False
    assert GradualPruning(CIFAR, "uniform").counts(masks, 260) == {"a": 60, "b": 150, "fc": 50}
    masks["b"][:] = False
    assert GradualPruning(CIFAR, "uniform").counts(masks, 100) == {"a": 60, "b": 0, "fc": 40}


@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("target", ["0.013", "0.5", "0.9", "0.987"])
def test_the_count_is_exact_after_every_pruning_and_weights_only_go(scope: str, target: str) -> None:
    dense = {"a": torch.ones(7, 3, 3, 3), "b": torch.ones(11, 7), "c": torch.ones(1, 1), "fc": torch.ones(10, 11)}
    masks = {name: value.bool() for name, value in dense.items()}
    number = sum(mask.numel() for mask in masks.values())
    updater = Gradual(GradualPruning(Cubic("0", target, every=3, begin=0, end=60), scope))
    steps = []
    for now, change in trained(updater, masks, steps=120):
        steps.append(now.step)
        left = sum(int(mask.sum()) for mask in change.masks.values())
        assert left == budget.kept(number, updater.pruning.schedule.sparsity(now.step))
        assert not any((change.masks[name] & ~now.masks[name]).any() for name in masks)
        assert change.reset is None
    assert steps == list(range(3, 60, 3))
    assert left == budget.kept(number, Decimal(target))
    if scope == "uniform":
        assert all(abs(int(mask.sum()) - (1 - float(target)) * mask.numel()) <= 1 for mask in change.masks.values())


# The method


def _find(sparsity: str = "0.9", epochs: int = 10, **options: Any) -> tuple[Any, Any]:
    bench: Any = RecordingBench(LAYERS, sparsity)
    bench.recipe["epochs"] = epochs
    return Gmp(**options).find(bench), bench


def _schedule(**options: Any) -> str:
    _, bench = _find(**options)
    return next(text for text in bench.asked if text.startswith("train"))


def test_gmp_trains_once_and_its_masks_are_those_it_ends_with() -> None:
    ticket, bench = _find(every="2ep", end="10ep")
    training = next(text for text in bench.asked if text.startswith("train"))
    assert bench.asked == ["init", training, f"masks_of({training})"]
    assert (ticket.weights.key, ticket.trained.key, ticket.masks.key) == ("init", training, f"masks_of({training})")
    assert "train(init, dense, 0-1000" in training
    assert "Cubic(initial='0', final='0.9', every=200, begin=0, end=1000, exact=True)" in training


def test_without_steps_the_schedule_is_the_papers_scaled_to_the_training() -> None:
    """A 56th of the steps between prunings, until half of them."""
    assert "every=17, begin=0, end=500" in _schedule()
    assert "every=1785, begin=0, end=50000" in _schedule(epochs=1000)


def test_options_reach_the_schedule() -> None:
    assert "every=50, begin=100, end=700, exact=False" in _schedule(
        every="50it", begin="1ep", end="7ep", variant="reference"
    )
    assert "scope='uniform', classifier='fc', classifier_floor='0.09'" in _schedule(
        scope="uniform", classifier_floor="0.09"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": "11ep"}, "end: 11ep is 1,100 iterations, beyond the schedule's 1,000 .10 epochs.; end earlier"),
        ({"begin": "5ep"}, "begin: 5ep is not before the end of the pruning at iteration 500; lower it"),
        ({"every": "500it"}, "every: 500it leaves no pruning from iteration 0 to 500, whose last is one `every`"),
        ({"every": "260it"}, "lower `every`, begin earlier or end later"),
        ({"every": "0.001ep"}, "every: 0.001ep is less than one iteration; give at least 1it"),
        ({"begin": "4ep", "every": "1ep", "variant": "reference"}, "every: 1ep leaves no pruning from iteration 400"),
        ({"scope": "uniform", "classifier_floor": "1"}, "100 weights is over the budget of 99 weights at sparsity"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _find("0.901", **options)


def test_one_pruning_alone_is_one() -> None:
    assert "every=250, begin=0, end=500" in _schedule(every="250it")
    assert "every=100, begin=400, end=500" in _schedule(begin="4ep", every="1ep")


def test_a_floor_of_the_classifier_goes_with_uniform() -> None:
    with pytest.raises(pydantic.ValidationError, match="classifier_floor goes with `scope: uniform`"):
        Gmp(classifier_floor="0.2")
