"""GraNet: an update by hand, counts over a whole training, and its schedule from dense and from sparse."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pydantic
import pytest
import torch
from benches import RecordingBench
from moments import moment, positions, trained

from methods import budget
from methods.gradual import Cubic, GradualPruning
from methods.granet import Granet, Regenerating
from methods.layers import Layer, prunable_layers
from methods.ratios import layer_counts
from methods.rewiring import cosine
from orchestrator.engine.nets import skeleton
from orchestrator.spec.models import Model

LAYERS = (Layer("a", (20, 10)), Layer("b", (30, 10)), Layer("fc", (10, 10), True))
HALF = GradualPruning(Cubic("0", "0.5", every=1, begin=0, end=2))
"""At step 1 to the half of all weights, and never again."""


def test_an_update_by_hand() -> None:
    """8 and 4 weights to 6: 5 of a, 1 of b. The rate is 0.5 less next to nothing: ceil(2.5) = 3 of a's are exchanged
    and 1 of b's."""
    now = moment(
        {"a": [8, -7, 6, -5, 4, 0.3, -0.2, 0.1], "b": [0.4, 9, -0.3, 0.2]},
        {"a": [1] * 8, "b": [1] * 4},
        {"a": [0, 0, -1, 0, 0, 3, 2, -4], "b": [1, -2, 0, 5]},
        steps=1000,
    )
    change = Regenerating(HALF, 1000, 0.5).change(now)
    # a: pruned to 8, -7, 6, -5, 4; of these 6, -5, 4 go; 0.1, 0.3 and -0.2 grow. b: pruned to 9, which goes for 0.2
    assert positions(change.masks) == {"a": [1, 1, 0, 0, 0, 1, 1, 1], "b": [0, 0, 0, 1]}
    # what the schedule pruned comes back from zero
    assert positions(change.reset or {}) == {"a": [0, 0, 0, 0, 0, 1, 1, 1], "b": [0, 0, 0, 1]}


@pytest.mark.parametrize("reset_regrown", [False, True])
def test_what_is_exchanged_for_itself_keeps_its_value_unless_asked_otherwise(reset_regrown: bool) -> None:
    now = moment({"a": [8, -7, 6, -5, 4, 0, 0]}, {"a": [1, 1, 1, 1, 1, 0, 0]}, {"a": [0, 0, 5, 0, 4, 3, 0]}, step=2)
    change = Regenerating(HALF, 1000, 0.5, reset_regrown).change(now)
    # 6, -5, 4 go, two of them come back
    assert positions(change.masks) == {"a": [1, 1, 1, 0, 1, 1, 0]}
    assert positions(change.reset or {}) == {"a": [0, 0, int(reset_regrown), 0, int(reset_regrown), 0, 0]}


def test_a_full_layer_keeps_its_values_however_it_is_asked() -> None:
    now = moment({"a": [3, 2, 1]}, {"a": [1, 1, 1]}, step=2)
    change = Regenerating(HALF, 100, 0.5, reset_regrown=True).change(now)
    assert (positions(change.masks), positions(change.reset or {})) == ({"a": [1, 1, 1]}, {"a": [0, 0, 0]})


def test_regeneration_goes_on_after_the_schedule_until_just_before_the_end() -> None:
    updater = Regenerating(GradualPruning(Cubic("0", "0.9", every=10, begin=20, end=50)), 100, 0.5)
    assert [step for step in range(1, 101) if updater.due(step)] == [10, 20, 30, 40, 50, 60, 70, 80, 90]


@pytest.mark.parametrize("initial", ["0", "0.5"])
@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_counts_are_exact_over_a_training(initial: str, scope: str) -> None:
    shapes = {"a": (7, 3, 3, 3), "b": (11, 7), "c": (1, 1), "fc": (10, 11)}
    layers = [Layer(name, shape) for name, shape in shapes.items()]
    counts = layer_counts("erk", layers, Decimal(initial), residual=False)
    masks = {}
    for layer, count in zip(layers, counts, strict=True):
        masks[layer.name] = (torch.arange(layer.weights) < count).reshape(layer.shape)
    number, schedule = budget.total(layers), Cubic(initial, "0.93", every=5, begin=0, end=60)
    steps, last = 120, Decimal(initial)
    for now, change in trained(Regenerating(GradualPruning(schedule, scope), steps, 0.5), masks, steps):
        pruning = schedule.due(now.step)
        last = schedule.sparsity(now.step) if pruning else last
        before = {name: int(mask.sum()) for name, mask in now.masks.items()}
        after = {name: int(mask.sum()) for name, mask in change.masks.items()}
        assert sum(after.values()) == budget.kept(number, last)
        assert all(after[name] <= before[name] for name in masks), "a layer's count never grows"
        if pruning:
            continue
        assert after == before, "each layer exchanges with itself"
        rate = cosine(0.5, 0.005, now.step, steps)
        for name, mask in now.masks.items():
            gone = int((mask & ~change.masks[name]).sum())
            assert gone <= math.ceil(rate * before[name])
            if before[name] and before[name] < mask.numel():
                smallest = now.weights[name][mask].abs().sort().values[: math.ceil(rate * before[name])]
                given_up = now.weights[name][mask & ~change.masks[name]].abs()
                assert (given_up <= smallest[-1]).all(), "only of the smallest"
    assert now.step == 115
    assert last == Decimal("0.93")


def test_the_reference_ends_where_its_schedule_does() -> None:
    schedule = Cubic("0", "0.9", every=10, begin=0, end=50, exact=False)
    *_, (_, change) = trained(
        Regenerating(GradualPruning(schedule), 100, 0.5), {"a": torch.ones(1000, dtype=torch.bool)}, 100
    )
    assert int(change.masks["a"].sum()) == 107  # floor(1000 (0.1 + 0.9 / 5^3)) = floor(107.2)


# The method


def _find(sparsity: str = "0.9", **options: Any) -> list[str]:
    bench: Any = RecordingBench(LAYERS, sparsity)
    ticket = Granet(**options).find(bench)
    assert ticket.weights.key == "init"
    assert ticket.trained is not None
    assert ticket.masks.key == f"masks_of({ticket.trained.key})"
    return bench.asked


def test_from_dense() -> None:
    asked = _find(every="50it", end="6ep")
    assert asked[1].startswith("train(init, dense, 0-1000, Regenerating(")
    assert "initial='0', final='0.9', every=50, begin=0, end=600, exact=True" in asked[1]
    assert "steps=1000, drop_fraction=0.5, reset_regrown=False" in asked[1]


def test_from_sparse_it_starts_under_exact_erk_counts() -> None:
    asked = _find(initial_sparsity="0.5")
    # sums of dims 30, 40, 20 of 90: 300 weights are shared 100, 133.3, 66.7
    assert asked[1] == "random_masks(, {'keep': [100, 133, 67]})"
    assert asked[2].startswith("train(init, random_masks(, {'keep': [100, 133, 67]}), 0-1000, Regenerating(")
    assert "initial='0.5', final='0.9'" in asked[2]


def test_the_start_from_sparse_has_the_papers_counts() -> None:
    net = skeleton(Model.model_validate({"name": "vgg19"}), 10, (3, 32, 32))
    counts = layer_counts("erk", prunable_layers(net), Decimal("0.5"), residual=False)
    densities = [1, 1, 1, 1, 1, 0.8703, 0.8703, 0.8703, 0.6502, *[0.4326] * 7, 1]
    for layer, count, density in zip(prunable_layers(net), counts, densities, strict=True):
        assert count / layer.weights == pytest.approx(density, abs=5e-5 + 1 / layer.weights)


def test_a_start_at_the_target_only_regenerates() -> None:
    assert "initial='0.5', final='0.5'" in _find("0.5", initial_sparsity="0.5")[2]


def test_a_start_above_the_target_is_refused() -> None:
    with pytest.raises(ValueError, match=r"initial_sparsity: 0\.5 is above the sparsity 0\.4 that is to be reached"):
        _find("0.4", initial_sparsity="0.5")


@pytest.mark.parametrize("options", [{"drop_fraction": 0}, {"drop_fraction": 1.1}, {"initial_sparsity": 1}, {"r": 1}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Granet(**options)
