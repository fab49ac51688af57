"""Every space of layer-wise ratios by hand, on a few layers, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import log10

import pytest
from pydantic import ValidationError

from methods.layers import Layer, prunable_layers
from methods.ratios import layer_counts
from orchestrator.engine.nets import skeleton
from orchestrator.spec.models import Model
from search_spaces import registry
from search_spaces.erk_power import ErkPower
from search_spaces.free import Free
from search_spaces.mixture import Mixture
from search_spaces.polynomial import Polynomial
from search_spaces.space import Inexpressible
from search_spaces.stages import Stages, network_stages

THREE = [Layer("a", (10, 10)), Layer("b", (10, 10)), Layer("fc", (2, 10), True)]
"""100, 100 and 20 weights."""
FOUR = [Layer("a", (10, 10)), Layer("b", (10, 10)), Layer("c", (10, 10)), Layer("fc", (2, 10), True)]
SMART = {"power": 2.0, "decay": 0.0, "classifier": log10(0.3)}


# free


def test_free_scales_each_layers_own_ratio_to_the_budget() -> None:
    space = Free(THREE, None)
    assert space.coordinates == {"a": (-4, 0), "b": (-4, 0), "fc": (-4, 0)}
    # wanted 10, 1, 20; the classifier would be over-full, and 42 are left for 10 : 1
    assert space.counts({"a": -1, "b": -2, "fc": 0}, 62) == [38, 4, 20]
    assert space.point([38, 4, 20], 62) == pytest.approx({"a": log10(0.38), "b": log10(0.04), "fc": 0})


def test_free_shifts_ratios_that_lie_below_its_range() -> None:
    space = Free(THREE, None, low=-1.01)
    found = space.point([50, 5, 1], 56)  # 0.5, 0.05, 0.05: the largest at 1, the others a tenth of it
    assert found == pytest.approx({"a": 0, "b": -1, "fc": -1})


def test_free_says_which_layer_is_out_of_its_range() -> None:
    with pytest.raises(Inexpressible, match=r"where 1 are asked.*lower its option `low`"):
        Free(THREE, None, low=-1).point([1, 100, 20], 121)


def test_a_layer_that_keeps_nothing_counts_as_one_that_keeps_a_weight() -> None:
    space = Free(THREE, None)
    assert space.counts(space.point([0, 60, 6], 66), 66) == [1, 59, 6]


def test_every_layer_keeps_a_weight_where_the_budget_allows_it() -> None:
    space, point = Free(THREE, None), {"a": -4, "b": 0, "fc": -4}
    assert space.counts(point, 3) == [1, 1, 1]
    assert space.counts(point, 2) == [0, 2, 0]
    assert space.counts(point, 30, low=[5, 0, 2], high=[100, 20, 20]) == [8, 20, 2]  # a and fc want 0.01 and 0.002
    with pytest.raises(ValueError, match="the upper bounds hold 5 less"):
        space.counts(point, 30, high=[5, 10, 10])


# polynomial


@pytest.mark.parametrize(
    ("point", "residual", "counts"),
    [
        (SMART, True, [31, 18, 9, 6]),  # n = 4, q = 20, 12, 6: 58 x q / 38 = 30.5, 18.3, 9.2
        (SMART | {"decay": 2.0}, False, [49, 7, 2, 6]),  # q = 20, 3, 2/3: 49.0, 7.4, 1.6
        ({"power": 0.0, "decay": 0.0, "classifier": log10(0.2)}, True, [20, 20, 20, 4]),
        (SMART | {"power": 1.0}, True, [25, 19, 14, 6]),  # q = 4.472, 3.464, 2.449: 24.97, 19.35, 13.68
    ],
)
def test_polynomial_by_hand(point: dict[str, float], residual: bool, counts: list[int]) -> None:
    space = Polynomial(FOUR, residual)
    assert space.counts(point, 64) == counts
    found = space.point(counts, 64)
    assert all(abs(a - b) <= 1 for a, b in zip(space.counts(found, 64), counts, strict=True))


def test_polynomial_finds_the_smart_ratio_at_its_own_point() -> None:
    for residual, decay in ((True, 0), (False, 2)):
        smart = layer_counts("smart", FOUR, Decimal("0.8"), residual=residual)
        assert Polynomial(FOUR, residual).point(smart, 64) == pytest.approx(SMART | {"decay": decay})


def test_polynomial_carries_what_a_layer_cannot_hold_to_the_next() -> None:
    layers = [Layer("a", (10, 1, 1, 1)), Layer("b", (100, 1, 1, 1)), Layer("c", (100, 1, 1, 1))]
    space = Polynomial(layers, True)
    assert list(space.coordinates) == ["power", "decay"]  # no classifier, so no ratio of its own
    # q = 12, 6, 2: 105 x q N / 920 = 13.7, 68.5, 22.8; 3.7 moves on
    assert space.counts({"power": 2, "decay": 0}, 105) == [10, 72, 23]


def test_a_classifier_over_the_budget_is_cut_to_it() -> None:
    assert Polynomial(FOUR, True).counts(SMART | {"classifier": 0.0}, 5) == [1, 1, 1, 2]


def test_polynomial_finds_a_point_between_the_whole_powers() -> None:
    layers = [Layer(f"conv{i}", (50, 20 + i)) for i in range(8)] + [Layer("fc", (10, 50), True)]
    space, point = Polynomial(layers, True), {"power": 1.37, "decay": 0.61, "classifier": -0.7}
    counts = space.counts(point, 900)
    assert space.point(counts, 900) == pytest.approx(point, abs=0.03)


def test_polynomial_refuses_what_it_does_not_hold() -> None:
    ascend = layer_counts("ascend", FOUR, Decimal("0.8"), residual=True)
    with pytest.raises(Inexpressible, match=r"no point of the space polynomial gives these counts .* free holds every"):
        Polynomial(FOUR, True).point(ascend, 64)


def test_a_range_is_checked() -> None:
    with pytest.raises(ValidationError, match="at most 0, got 1"):
        Polynomial(FOUR, True, classifier=[-1, 1])
    with pytest.raises(ValidationError, match="low below high"):
        Polynomial(FOUR, True, power=[2, 2])
    with pytest.raises(ValidationError, match="Extra inputs"):
        Polynomial(FOUR, True, base="erk")
    assert Polynomial(FOUR, True, power=[1, 3]).coordinates["power"] == (1, 3)


# erk_power: densities 0.2, 0.25 and 0.6

ERK = [Layer("a", (10, 10)), Layer("b", (20, 5)), Layer("fc", (2, 10), True)]


@pytest.mark.parametrize(
    ("power", "counts"),
    [
        (0, [30, 30, 6]),
        (0.5, [27, 30, 9]),  # 44.72, 50, 15.49 x 66 / 110.21
        (1, [23, 29, 14]),  # 20, 25, 12 x 66 / 57
        (2, [18, 28, 20]),  # 4, 6.25, 7.2: the classifier is full, and 46 are left
    ],
)
def test_erk_power_by_hand(power: float, counts: list[int]) -> None:
    space = ErkPower(ERK, None)
    assert space.counts({"power": power}, 66) == counts
    assert space.point(counts, 66) == pytest.approx({"power": power}, abs=0.2)


def test_erk_power_refuses_what_it_does_not_hold() -> None:
    with pytest.raises(Inexpressible, match="nearest keeps"):
        ErkPower(ERK, None).point([40, 20, 6], 66)


# stages

STAGED = [Layer("stage1.0", (10, 10)), Layer("stage1.1", (10, 10)), Layer("fc", (2, 10), True)]


def test_stages_multiply_their_base() -> None:
    space = Stages(STAGED, None)
    assert space.coordinates == {"stage/stage1": (-1.5, 1.5), "stage/fc": (-1.5, 1.5)}
    # 100, 100, 200: the classifier would be over-full, and 24 are left for the stage
    assert space.counts({"stage/stage1": 0, "stage/fc": 1}, 44) == [12, 12, 20]
    point = {"stage/stage1": 0, "stage/fc": log10(3)}
    assert space.counts(point, 52) == [20, 20, 12]
    half = log10(3) / 2
    assert space.point([20, 20, 12], 52) == pytest.approx({"stage/stage1": -half, "stage/fc": half})
    with pytest.raises(Inexpressible, match=r"keeps 20 weights in layer 'stage1\.0', where 25"):
        space.point([25, 15, 12], 52)


def test_the_base_is_zero_everywhere() -> None:
    for base, counts in (("uniform", [30, 30, 6]), ("erk", [26, 25, 15])):  # erk: 20, 20, 12 x 66 / 52
        space = Stages(STAGED, None, base=base)
        assert space.counts({"stage/stage1": 0, "stage/fc": 0}, 66) == counts
        assert space.point(counts, 66) == {"stage/stage1": 0, "stage/fc": 0}


def test_a_full_stage_comes_back() -> None:
    space = Stages(STAGED, None)
    assert space.counts(space.point([12, 12, 20], 44), 44) == [12, 12, 20]


def test_groups_are_patterns_that_each_layer_matches_once() -> None:
    space = Stages(STAGED, None, groups=["*.0", "*.1", "fc"])
    assert space.stages == {"*.0": [0], "*.1": [1], "fc": [2]}
    for groups, message in (
        (["stage1.*"], "groups: layer 'fc' matches none; expected exactly one"),
        (["*", "fc"], r"groups: layer 'fc' matches \* and fc; expected exactly one"),
        (["stage1.*", "fc", "head"], "groups: 'head' matches no layer; the layers are stage1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            Stages(STAGED, None, groups=groups)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet20", {"conv": 1, "stage1": 6, "stage2": 7, "stage3": 7, "fc": 1}),
        ("vgg19", {"features.0": 2, "features.7": 2, "features.14": 4, "features.27": 8, "fc": 1}),
        ("resnet18", {"conv1": 1, "layer1": 4, "layer2": 5, "layer3": 5, "layer4": 5, "fc": 1}),
        (
            "mobilenet_v2",
            {
                "features.0": 1, "features.1": 2, "features.2": 6, "features.4": 9, "features.7": 12,
                "features.11": 9, "features.14": 9, "features.17": 3, "features.18": 1, "classifier.1": 1,
            },
        ),
        ("convnet", {"conv1": 1, "conv2": 1, "conv3": 1, "fc": 1}),
    ],
)  # fmt: skip
def test_the_stages_of_known_networks(name: str, stages: dict[str, int]) -> None:
    found = network_stages(_layers(name))
    assert {stage: len(members) for stage, members in found.items()} == stages
    assert [i for members in found.values() for i in members] == list(range(len(_layers(name))))


def _layers(name: str) -> Sequence[Layer]:
    return prunable_layers(skeleton(Model(name=name), 10, (3, 32, 32)))


# mixture: of 66 weights, uniform keeps 30, 30, 6 and erk 26, 25, 15


def test_a_mixture_lies_between_its_components() -> None:
    space = Mixture(THREE, None)
    assert space.coordinates == {"uniform": (0, 1), "erk": (0, 1)}  # smart: the network does not say
    assert space.counts({"uniform": 1, "erk": 0}, 66) == [30, 30, 6]
    assert space.counts({"uniform": 0, "erk": 0.25}, 66) == [26, 25, 15]
    for weight in (0, 0.7):  # 28, 27.5, 10.5; the tie to the earlier
        assert space.counts({"uniform": weight, "erk": weight}, 66) == [28, 28, 10]
    assert space.point([26, 25, 15], 66) == {"uniform": 0, "erk": 1}


def test_a_mixture_with_what_the_trained_network_says() -> None:
    space = Mixture(THREE, True, {"lamp": [0, 60, 6]}, of=["uniform", "lamp"])
    assert space.counts({"uniform": 1, "lamp": 0.5}, 66) == [20, 40, 6]
    assert space.point([20, 40, 6], 66) == pytest.approx({"uniform": 1, "lamp": 0.5})
    assert list(Mixture(THREE, True, {"lamp": [0, 60, 6]}).coordinates) == ["uniform", "erk", "smart", "lamp"]
    with pytest.raises(Inexpressible, match="what its option `of` names"):
        space.point([60, 0, 6], 66)


def test_a_mixture_says_what_it_cannot_mix() -> None:
    with pytest.raises(ValueError, match=r"of: lamp is read off a trained network.*some of uniform, balanced"):
        Mixture(THREE, True, of=["lamp"])
    with pytest.raises(ValueError, match="of: smart depends on whether the network has residual"):
        Mixture(THREE, None, of=["smart"])


def test_a_mixture_with_smart_never_fails_for_its_classifier() -> None:
    assert Mixture(FOUR, True, of=["smart"]).counts({"smart": 1}, 5) == [1, 1, 1, 2]  # 0.3 x 20 = 6 over a budget of 5


# the registry


def test_spaces_by_name() -> None:
    assert list(registry.SPACES) == ["free", "polynomial", "erk_power", "stages", "mixture"]
    assert registry.get("stages") is Stages
    assert [name for name, space in registry.SPACES.items() if space.proportional] == ["free", "stages"]
    with pytest.raises(LookupError, match=r"unknown space 'polynomal'; did you mean 'polynomial'\? known: free, poly"):
        registry.get("polynomal")
    for space in registry.SPACES.values():
        assert all(field.description for field in space.Options.model_fields.values())
