"""Magnitude pruning of the trained network under a layer-wise ratio, level by level."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pydantic
import pytest
import torch
from benches import RecordingBench, ScoringBench
from torch import nn

from methods import registry
from methods.lamp import lamp_masks
from methods.layers import Layer
from methods.lottery import Lottery, OneShot
from methods.magnitude_init import MagnitudeInit
from methods.ratios import layer_counts
from methods.rewinding import FineTune, LrRewinding

LAYERS = (Layer("a", (600,)), Layer("b", (300,)), Layer("fc", (10, 10), True))
RATIOS = {"a": "0.5", "b": "0.4", "fc": "0.8"}
METHODS = (OneShot, Lottery, LrRewinding, FineTune)


def _asked(method: Any, sparsity: str = "0.5", layers: tuple[Layer, ...] = LAYERS) -> list[str]:
    bench: Any = RecordingBench(layers, sparsity, residual=True)
    method.find(bench)
    return bench.asked


def _kept(asked: list[str]) -> list[Any]:
    """What each level keeps, from the text of its stage."""
    return [eval(text[text.rindex("{'keep'") : -1])["keep"] for text in asked if "_masks(" in text.split("(")[0] + "("]


@pytest.mark.parametrize("kind", METHODS)
def test_the_last_level_keeps_what_the_ratio_says_at_the_sparsity(kind: Any) -> None:
    assert _kept(_asked(kind(ratios=RATIOS)))[-1] == {"a": 300, "b": 120, "fc": 80}
    assert _kept(_asked(kind(ratio="uniform")))[-1] == {"a": 300, "b": 150, "fc": 50}
    erk = layer_counts("erk", LAYERS, Decimal("0.5"), residual=True)
    assert _kept(_asked(kind(ratio="erk")))[-1] == dict(zip(("a", "b", "fc"), erk, strict=True))
    fixed = layer_counts("smart", LAYERS, Decimal("0.5"), residual=True, classifier_keep=Decimal("0.5"))
    assert fixed[2] == 50
    found = _kept(_asked(kind(ratio="smart", classifier_keep="0.5")))[-1]
    assert found == dict(zip(("a", "b", "fc"), fixed, strict=True))


def test_each_level_keeps_what_the_ratio_says_at_its_sparsity() -> None:
    """Levels at sparsity 0.4, 0.64 and 0.75: 600, 360 and 250 weights in proportion 300 : 120 : 80."""
    assert _kept(_asked(Lottery(ratios=RATIOS, fraction="0.4"), "0.75")) == [
        {"a": 360, "b": 144, "fc": 96},
        {"a": 216, "b": 86, "fc": 58},  # 57.6: the largest remainder
        {"a": 150, "b": 60, "fc": 40},
    ]


def test_targets_share_the_levels_of_a_ratio() -> None:
    short, long = (_asked(Lottery(ratio="erk"), sparsity) for sparsity in ("0.6", "0.9"))
    assert short[:-1] == long[: len(short) - 1]


def test_no_layer_gets_a_weight_back() -> None:
    """11 of 6 + 6 + 2 weights are 4.71 + 4.71 + 1.57, that is 5 + 5 + 1; 10 are 4.29 + 4.29 + 1.43, that is 4 + 4 + 2
    (the Alabama paradox): the third layer keeps its 1, the first its 5."""
    layers = tuple(Layer(name, (weights,)) for name, weights in (("a", 6), ("b", 6), ("c", 2)))
    assert _kept(_asked(Lottery(ratio="uniform", fraction="0.2"), "0.28", layers)) == [
        {"a": 5, "b": 5, "c": 1},
        {"a": 5, "b": 4, "c": 1},
    ]
    assert _kept(_asked(OneShot(ratio="uniform"), "0.28", layers)) == [{"a": 4, "b": 4, "c": 2}]


def test_a_ratio_that_does_not_go_is_refused_before_any_training() -> None:
    for method, sparsity, message in (
        (Lottery(ratio="smart"), "0.99", "a classifier that keeps 0.3 of its 100 weights is over the budget of 10"),
        (Lottery(ratios={"a": 1, "b": 1}), "0.5", "ratios: 'fc' is missing"),
    ):
        bench: Any = RecordingBench(LAYERS, sparsity, residual=True)
        with pytest.raises(ValueError, match=message):
            method.find(bench)
        assert bench.asked == []


@pytest.mark.parametrize("kind", METHODS)
def test_options_that_contradict_a_ratio_are_refused(kind: Any) -> None:
    for options, message in (
        ({"ratio": "erk", "scope": "layerwise"}, "ratio says how much each layer keeps, and scope would say it again"),
        ({"ratios": RATIOS, "prune_classifier": False}, "ratios says .*, and prune_classifier would say it again"),
        ({"ratio": "erk", "ratios": RATIOS}, "choose one"),
        ({"classifier_keep": "0.5"}, "classifier_keep goes with a ratio that is a formula; give one"),
        ({"ratio": "lamp", "classifier_keep": "0.5"}, "classifier_keep goes with a ratio that is a formula"),
        ({"ratio": "magnitude"}, "ratio"),  # which is none: the default scope
    ):
        with pytest.raises(pydantic.ValidationError, match=message):
            kind(**options)
    with pytest.raises(pydantic.ValidationError):
        MagnitudeInit(ratio="erk")


# LAMP


def test_lamp_ranks_all_layers_together_at_each_level() -> None:
    asked = _asked(LrRewinding(ratio="lamp", fraction="0.2"), "0.36")
    first, second = (text for text in asked if text.startswith("lamp_masks"))
    dense = "train(init, dense, 0-1000)"
    assert first == f"lamp_masks({dense}, dense, {{'keep': 800}})"
    assert second == f"lamp_masks(train({dense}, {first}, 0-1000), {first}, {{'keep': 640}})"


def test_lamp_scores_of_what_is_left_by_hand() -> None:
    """Without -0.9 the first layer's squares 0.25, 0.09, 0.04, 0.01, 0 score 1, 0.26, 0.11, 0.03, 0; without 0.7 the
    second's 0.36, 0.0025, 0 score 1, 0.007, 0."""
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    weights = {
        "0.weight": torch.tensor([[0.1, -0.9, 0.0], [0.5, -0.2, 0.3]]),
        "1.weight": torch.tensor([[-0.6, 0.05], [0.0, 0.7]]),
    }
    masks = {"0": torch.tensor([[True, False, True], [True] * 3]), "1": torch.tensor([[True, True], [True, False]])}
    order = [("0", 1, 0), ("1", 0, 0), ("0", 1, 2), ("0", 1, 1), ("0", 0, 0), ("1", 0, 1), ("0", 0, 2), ("1", 1, 0)]
    bench: Any = ScoringBench(net, [])
    for keep in range(len(order) + 1):
        found = lamp_masks(bench, weights, masks, keep)
        kept = {(name, *place) for name, mask in found.items() for place in mask.nonzero().tolist()}
        assert kept == set(order[:keep])
    whole = lamp_masks(bench, weights, {name: torch.ones_like(mask) for name, mask in masks.items()}, 4)
    # 0.81, 0.25 of 1.06, 0.49, 0.36 of 0.85: scores 1, 0.24, 1, 0.42
    assert {name: mask.int().tolist() for name, mask in whole.items()} == {
        "0": [[0, 1, 0], [1, 0, 0]],
        "1": [[1, 0], [0, 1]],
    }


# What a search starts from


@pytest.mark.parametrize("name", registry.names())
def test_formulas_are_options_of_the_methods_whose_ratios_can_be_searched(name: str) -> None:
    kind = registry.get(name)
    assert bool(kind.formulas) == ("ratios" in kind.Options.model_fields)
    for options in kind.formulas.values():
        kind(**options)


def test_formulas_of_the_built_in_methods() -> None:
    four = {ratio: {"ratio": ratio} for ratio in ("uniform", "erk", "smart", "lamp")}
    for name in ("random", "hybrid"):
        assert registry.get(name).formulas == {**four, "magnitude": {"ratio": "magnitude"}}
    for name in ("one_shot", "lottery", "lr_rewinding", "fine_tune"):
        assert registry.get(name).formulas == {**four, "magnitude": {}}
    bench: Any = RecordingBench(LAYERS, "0.5")
    assert Lottery().searched(bench) == LAYERS
