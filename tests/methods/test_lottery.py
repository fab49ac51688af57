"""Iterative magnitude pruning: which levels it trains, what they share, which weights they keep."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pydantic
import pytest
import torch
from benches import RecordingBench, ScoringBench
from torch import nn

from methods import budget
from methods.bench import Ticket
from methods.layers import Layer, prunable_layers
from methods.lottery import Lottery, OneShot
from methods.magnitude import MagnitudePruning, counts, levels, magnitude_masks, split

LAYERS = (Layer("a", (600,), False), Layer("b", (300,), False), Layer("fc", (10, 10), True))


def _find(sparsity: str, kind: type[MagnitudePruning] = Lottery, **options: Any) -> tuple[Ticket, list[str]]:
    bench: Any = RecordingBench(LAYERS, sparsity)
    return kind(**options).find(bench), bench.asked


def _kept(asked: list[str]) -> list[Any]:
    """What each level keeps, from the text of its stage."""
    return [eval(text[text.rindex("{'keep'") : -1])["keep"] for text in asked if text.startswith("magnitude")]


def testlevels_remove_a_fifth_each_until_the_target_exactly() -> None:
    ticket, asked = _find("0.5")
    assert _kept(asked) == [800, 640, 512, 500]
    assert ticket.weights.key == "init"
    trainings = [text for text in asked if text.startswith("train")]
    assert len(trainings) == 4, "dense and three levels; the last mask is trained by the engine"
    assert all(text.startswith("train(init, ") and text.endswith("0-1000)") for text in trainings)


def test_a_target_that_a_level_meets_exactly_needs_no_further_level() -> None:
    assert _kept(_find("0.2")[1]) == [800]
    assert _kept(_find("0.36")[1]) == [800, 640]
    assert _kept(_find("0.75", fraction="0.5")[1]) == [500, 250]


def test_targets_share_theirlevels_and_branch_off_at_their_last() -> None:
    """1 - 0.8^t: 0.9 takes 10 full levels and a part of one, 0.95 takes 13, 0.98 takes 17."""
    asked = {target: _find(target)[1] for target in ("0.9", "0.95", "0.98")}
    assert [len(_kept(asked[target])) for target in asked] == [11, 14, 18]
    for short, long in (("0.9", "0.95"), ("0.95", "0.98")):
        # init, and two stages a level: training and mask. All but the last mask are the longer chain's
        assert asked[short][:-1] == asked[long][: len(asked[short]) - 1]
        assert asked[short][-1] not in asked[long]
    assert [_kept(asked[target])[-1] for target in asked] == [100, 50, 20]


def test_one_shot_prunes_the_dense_net_once() -> None:
    ticket, asked = _find("0.95", OneShot)
    assert asked[:2] == ["init", "train(init, dense, 0-1000)"]
    assert len(asked) == 3
    assert _kept(asked) == [50]
    assert ticket.masks.key == asked[-1]


@pytest.mark.parametrize(("rewind_to", "step"), [("250it", 250), ("2.5ep", 250), ("1ep", 100)])
def testlevels_and_ticket_start_from_the_rewinding_step(rewind_to: str, step: int) -> None:
    ticket, asked = _find("0.5", rewind_to=rewind_to)
    rewound = f"train(init, dense, 0-{step})"
    assert ticket.weights.key == rewound
    assert ticket.weights.step == step
    assert asked[:3] == ["init", rewound, "train(init, dense, 0-1000)"]
    levels = [text for text in asked[3:] if text.startswith("train")]
    assert len(levels) == 3
    assert all(text.startswith(f"train({rewound}, ") and text.endswith(f"{step}-1000)") for text in levels)


def test_a_dense_classifier_counts_towards_the_sparsity() -> None:
    _, asked = _find("0.5", prune_classifier=False)
    assert _kept(asked) == [700, 540, 412, 400]
    assert all("'dense': ['fc']" in text for text in asked if text.startswith("magnitude"))


def test_wholelevels_go_past_the_target() -> None:
    assert _kept(_find("0.5", exact=False)[1]) == [800, 640, 512, 410]
    assert _kept(_find("0.36", exact=False)[1]) == [800, 640], "a level meets it: none goes past"


def test_layerwise_keeps_the_same_share_of_each_layer() -> None:
    assert _kept(_find("0.2", scope="layerwise")[1]) == [{"a": 480, "b": 240, "fc": 80}]
    assert _kept(_find("0.2", scope="layerwise", prune_classifier=False)[1]) == [{"a": 467, "b": 233}]


def test_a_dense_classifier_over_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sparsity 0\.95 keeps fewer weights than the 100 of the classifier"):
        _find("0.95", prune_classifier=False)
    _find("0.9", prune_classifier=False)


def test_wrong_options_are_refused() -> None:
    for options in ({"fraction": 0}, {"fraction": 1}, {"rewind_to": "5"}, {"rewind_to": 5}, {"scope": "x"}, {"x": 1}):
        with pytest.raises(pydantic.ValidationError):
            Lottery(**options)


# The masks of a level

NET = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
WEIGHTS = {
    "0.weight": torch.tensor([[0.1, -0.9, 0.0], [0.5, -0.2, 0.3]]),
    "1.weight": torch.tensor([[-0.6, 0.05], [0.0, 0.7]]),
}
ALL = {"0": torch.ones(2, 3, dtype=torch.bool), "1": torch.ones(2, 2, dtype=torch.bool)}


def _level(masks: dict[str, torch.Tensor], keep: Any, dense: list[str] | None = None) -> dict[str, list]:
    bench: Any = ScoringBench(NET, [])
    assert prunable_layers(NET) == bench.layers
    found = magnitude_masks(bench, WEIGHTS, masks, keep, dense or [])
    return {name: mask.int().tolist() for name, mask in found.items()}


def test_the_largest_magnitudes_of_all_layers_stay() -> None:
    assert _level(ALL, 4) == {"0": [[0, 1, 0], [1, 0, 0]], "1": [[1, 0], [0, 1]]}


def test_the_largest_magnitudes_of_each_layer_stay() -> None:
    assert _level(ALL, {"0": 3, "1": 1}) == {"0": [[0, 1, 0], [1, 0, 1]], "1": [[0, 0], [0, 1]]}


def test_a_removed_weight_never_comes_back_whatever_its_value() -> None:
    masks = {"0": torch.tensor([[True, False, True], [True, True, True]]), "1": ALL["1"]}
    for keep in range(10):
        found = _level(masks, keep)
        assert found["0"][0][1] == 0
        assert sum(map(sum, found["0"] + found["1"])) == keep


def test_weights_that_are_zero_are_kept_before_removed_ones() -> None:
    """Nine weights are left, two of them exactly zero: keeping all nine must not bring the tenth back."""
    masks = {"0": ALL["0"], "1": torch.tensor([[True, True], [True, False]])}
    assert _level(masks, 9) == {"0": [[1, 1, 1], [1, 1, 1]], "1": [[1, 1], [1, 0]]}


def test_a_dense_layer_keeps_all() -> None:
    assert _level(ALL, 2, ["1"]) == {"0": [[0, 1, 0], [1, 0, 0]], "1": [[1, 1], [1, 1]]}
    assert _level(ALL, {"0": 1}, ["1"]) == {"0": [[0, 1, 0], [0, 0, 0]], "1": [[1, 1], [1, 1]]}


@pytest.mark.parametrize("fraction", ["0.1", "0.2", "0.5"])
def test_no_layer_ever_gets_a_weight_back(fraction: str) -> None:
    """By largest remainders alone it would: a smaller total may give a layer one more (the Alabama paradox)."""
    layers = tuple(Layer(f"l{i}", (weights,), False) for i, weights in enumerate((144, 1152, 2304, 7, 31)))
    total = sum(layer.weights for layer in layers)
    lottery = Lottery(scope="layerwise", fraction=fraction)
    for target in range(500, 990):
        left: Any = {layer.name: layer.weights for layer in layers}
        sparsity = Decimal(target) / 1000
        for level in levels(sparsity, Decimal(fraction), exact=True):
            kept: Any = counts(lottery.options, layers, level, left)[0]
            assert all(kept[name] <= left[name] for name in left), (target, left, kept)
            assert all(abs(kept[x.name] - x.weights * sum(kept.values()) / total) < 2 for x in layers)
            left = kept
        assert sum(left.values()) == budget.kept(total, sparsity)


def test_a_rewinding_step_at_the_schedules_end_is_refused() -> None:
    with pytest.raises(ValueError, match="rewind_to: 1000it is the schedule's end"):
        _find("0.5", rewind_to="1000it")


def test_morelevels_than_anybody_trains_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fraction: 0\.000001 takes 693,147 levels, .* at most 1,000 are allowed"):
        _find("0.5", fraction="0.000001")
    assert len(list(levels(Decimal("0.5"), Decimal("0.001"), exact=True))) == 693


def test_an_excluded_classifier_leaves_no_hidden_layer_dense() -> None:
    hidden = (Layer("a", (600,)), Layer("fc", (40, 10)))
    pruned, dense, keep = split(Lottery(prune_classifier=False).options, hidden, Decimal("0.5"))
    assert (pruned, dense, keep) == (list(hidden), [], 500)
