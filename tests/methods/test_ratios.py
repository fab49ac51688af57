"""Layer-wise ratios against the spec's vectors, by hand, and to the weight at every budget."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pytest
from torch import nn

from methods import budget
from methods.layers import Layer, prunable_layers
from methods.ratios import RATIOS, layer_counts
from orchestrator.engine.nets import skeleton
from orchestrator.spec.models import Model

VGG19_SMART_90 = [1] * 6 + [0.3177, 0.1731, 0.1119, 0.0725, 0.0466, 0.0294, 0.0179, 0.0103, 0.0054, 0.0024, 0.3]
RESNET32_SMART_98 = [
    0.1584, 0.1493, 0.1405, 0.1320, 0.1238, 0.1158, 0.1081, 0.1006, 0.0934, 0.0865, 0.0798, 0.0735, 0.0673, 0.0615,
    0.0559, 0.0506, 0.0455, 0.0407, 0.0362, 0.0319, 0.0279, 0.0242, 0.0208, 0.0176, 0.0146, 0.0120, 0.0096, 0.0075,
    0.0056, 0.0040, 0.0027, 0.0016, 0.0008, 0.3,
]  # fmt: skip
VGG19_ERK_50 = [1, 1, 1, 1, 1, 0.8703, 0.8703, 0.8703, 0.6502, *[0.4326] * 7, 1]
SPARSITIES = [Decimal(text) for text in ("0", "0.001", "0.1", "0.5", "0.8", "0.9", "0.95", "0.98", "0.99", "0.995")]


@cache
def _net(name: str, **options: float) -> tuple[tuple[Layer, ...], bool]:
    net = skeleton(Model.model_validate({"name": name, **options}), 10, (3, 32, 32))
    return prunable_layers(net), bool(net.residual)


def _convs(*shapes: tuple[int, ...], classifier: tuple[int, int] | None = None) -> list[Layer]:
    layers = [Layer(f"conv{i}", shape, False) for i, shape in enumerate(shapes)]
    return [*layers, Layer("fc", classifier, True)] if classifier else layers


# The spec's vectors (tickets.md 1.3 and 4.1)


@pytest.mark.parametrize(
    ("name", "width", "ratio", "sparsity", "vector"),
    [
        ("vgg19", None, "smart", "0.9", VGG19_SMART_90),
        ("resnet32", 2, "smart", "0.98", RESNET32_SMART_98),
        ("vgg19", None, "erk", "0.5", VGG19_ERK_50),
    ],
)
def test_vectors_of_the_paper(name: str, width: int | None, ratio: str, sparsity: str, vector: list[float]) -> None:
    """The vectors are printed to four decimals: the counts agree to that rounding and one weight."""
    layers, residual = _net(name, **({"width": width} if width else {}))
    counts = layer_counts(ratio, layers, Decimal(sparsity), residual=residual)
    assert len(counts) == len(vector)
    for layer, count, keep_ratio in zip(layers, counts, vector, strict=True):
        assert abs(count - keep_ratio * layer.weights) <= 1 + 0.00005 * layer.weights, layer.name


def _reference_smart(layers: Sequence[Layer], sparsity: Fraction, residual: bool) -> list[Fraction]:
    """Unrounded counts, written again from tickets.md 1.3."""
    n, total = len(layers), budget.total(layers)
    sizes = [layer.weights for layer in layers]
    q = [Fraction((n - l + 1) ** 2 + (n - l + 1), 1 if residual else l**2) for l in range(1, n + 1)]  # noqa: E741
    fc = Fraction(3, 10) * sizes[-1]
    scale = (total * (1 - sparsity) - fc) / sum(q[i] * sizes[i] for i in range(n - 1))
    counts, carry = [], Fraction(0)
    for i in range(n - 1):
        wanted = q[i] * sizes[i] * scale + carry
        counts.append(min(wanted, Fraction(sizes[i])))
        carry = wanted - counts[-1]
    return [*counts, fc]


@pytest.mark.parametrize(
    ("name", "width", "sparsity"), [("vgg19", None, "0.9"), ("vgg19", None, "0.98"), ("resnet32", 2, "0.98")]
)
def test_smart_is_within_a_weight_a_layer_of_the_formula(name: str, width: int | None, sparsity: str) -> None:
    layers, residual = _net(name, **({"width": width} if width else {}))
    wanted = _reference_smart(layers, Fraction(sparsity), residual)
    counts = layer_counts("smart", layers, Decimal(sparsity), residual=residual)
    reference = layer_counts("smart", layers, Decimal(sparsity), residual=residual, reference=True)
    for layer, count, floored, exact in zip(layers, counts, reference, wanted, strict=True):
        assert abs(count - exact) <= 1, layer.name
        assert abs(floored - exact) <= 1, layer.name
    kept = budget.kept(budget.total(layers), Decimal(sparsity))
    assert sum(counts) == kept
    assert kept - len(layers) <= sum(reference) <= kept


# To the weight, everywhere


@pytest.mark.parametrize("name", ["vgg19", "resnet20", "convnet", "resnet32"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_budget_is_met_to_the_weight(name: str, ratio: str) -> None:
    layers, residual = _net(name)
    for sparsity in SPARSITIES:
        keep = Decimal("0.1") if name == "convnet" else None  # at 0.995, 0.3 of its classifier is over the budget
        counts = layer_counts(ratio, layers, sparsity, residual=residual, classifier_keep=keep)
        assert sum(counts) == budget.kept(budget.total(layers), sparsity)
        assert all(0 <= count <= layer.weights for count, layer in zip(counts, layers, strict=True))
        if sparsity == 0:
            assert counts == [layer.weights for layer in layers]


def test_the_budget_is_met_in_small_odd_nets() -> None:
    nets = [
        _convs((3, 1, 1, 1), (7, 3, 1, 1), classifier=(2, 7)),
        _convs((8, 1, 3, 3), (8, 1, 3, 3)),
        _convs(classifier=(5, 13)),
        [Layer("fc1", (9, 4)), Layer("fc2", (4, 9)), Layer("head", (3, 4), True)],
        [Layer("fc", (9, 4), True), Layer("conv", (4, 3, 3, 3), False)],  # the classifier is not last
    ]
    for layers, ratio, percent in itertools.product(nets, RATIOS, range(0, 70)):
        sparsity = Decimal(percent) / 100
        for residual in (True, False):
            counts = layer_counts(ratio, layers, sparsity, residual=residual)
            assert sum(counts) == budget.kept(budget.total(layers), sparsity), (ratio, sparsity)
            assert all(0 <= count <= layer.weights for count, layer in zip(counts, layers, strict=True))


# Each ratio by hand, on layers of 100, 100 and 100 weights and a classifier of 20

LAYERS = _convs((10, 10, 1, 1), (10, 10, 1, 1), (10, 10, 1, 1), classifier=(2, 10))


@pytest.mark.parametrize(
    ("ratio", "residual", "counts"),
    [
        # 80 % of 320 removed: 64 left, 6 of them in the classifier (0.3 x 20), 58 over the three
        ("smart", True, [31, 18, 9, 6]),  # n = 4, q = 20, 12, 6: 58 x q / 38 = 30.5, 18.3, 9.2
        ("linear_decay", True, [26, 19, 13, 6]),  # q = 4, 3, 2: 25.8, 19.3, 12.9
        ("cubic", True, [37, 16, 5, 6]),  # q = 64, 27, 8: 37.5, 15.8, 4.7
        ("ascend", True, [6, 17, 35, 6]),  # q = 2, 6, 12: 5.8, 17.4, 34.8
        ("smart", False, [49, 7, 2, 6]),  # q = 20, 3, 2/3: 49.0, 7.4, 1.6
        ("ascend", False, [24, 18, 16, 6]),  # q = 2, 3/2, 4/3: 24.0, 18.0, 16.0
        ("uniform", True, [20, 20, 20, 4]),
        ("balanced", True, [16, 16, 16, 16]),
        # sums of dims 22, 22, 22, 12 of 78: 18.05 each and 9.85
        ("erk", True, [18, 18, 18, 10]),
    ],
)
def test_ratios_by_hand(ratio: str, residual: bool, counts: list[int]) -> None:
    assert layer_counts(ratio, LAYERS, Decimal("0.8"), residual=residual) == counts


def test_balanced_makes_a_small_layer_dense_and_shares_the_rest_evenly() -> None:
    assert layer_counts("balanced", LAYERS, Decimal("0.7"), residual=True) == [26, 25, 25, 20]


def test_what_a_layer_cannot_hold_moves_on_to_the_next() -> None:
    layers = _convs((10, 1, 1, 1), (100, 1, 1, 1), (100, 1, 1, 1))
    # 105 left; q = 12, 6, 2: 105 x q N / 920 = 13.7, 68.5, 22.8; 3.7 moves on
    assert layer_counts("smart", layers, Decimal("0.5"), residual=True) == [10, 72, 23]


# The classifier


def test_the_classifier_keeps_what_is_asked() -> None:
    assert layer_counts("uniform", LAYERS, Decimal("0.8"), residual=True, classifier_keep=Decimal(1))[-1] == 20
    assert layer_counts("erk", LAYERS, Decimal("0.8"), residual=True, classifier_keep=Decimal("0.5"))[-1] == 10
    assert layer_counts("smart", LAYERS, Decimal("0.8"), residual=True, classifier_keep=Decimal("0.7"))[-1] == 14
    assert layer_counts("uniform", LAYERS, Decimal("0.8"), residual=True, classifier_keep=Decimal("0.3")) == [
        20, 19, 19, 6,
    ]  # fmt: skip


def test_of_two_linear_layers_the_last_is_the_classifier() -> None:
    layers = [Layer("fc1", (10, 10)), Layer("fc2", (10, 10), True)]
    assert layer_counts("smart", layers, Decimal("0.5"), residual=True) == [70, 30]


def test_without_a_linear_layer_nothing_is_fixed() -> None:
    assert layer_counts("linear_decay", _convs((10,), (10,)), Decimal("0.5"), residual=True) == [7, 3]


def test_a_classifier_over_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keeps 0\.3 of its 20 weights is over the budget of 3 weights at") as raised:
        layer_counts("smart", LAYERS, Decimal("0.99"), residual=True)
    assert str(raised.value).endswith("at sparsity 0.99; lower `classifier_keep`")
    counts = layer_counts("smart", LAYERS, Decimal("0.99"), residual=True, classifier_keep=Decimal("0.1"))
    assert sum(counts) == 3


def test_a_nearly_dense_net_fills_the_classifier_last_of_all() -> None:
    counts = layer_counts("smart", LAYERS, Decimal("0.01"), residual=True)
    assert counts == [100, 100, 100, 17]


def test_the_reference_rounds_every_layer_down() -> None:
    exact = layer_counts("linear_decay", LAYERS, Decimal("0.8"), residual=True)
    floors = layer_counts("linear_decay", LAYERS, Decimal("0.8"), residual=True, reference=True)
    assert exact == [26, 19, 13, 6]
    assert floors == [25, 19, 12, 6]


def test_an_unknown_ratio_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown ratio 'smrt'; known: uniform, balanced, erk, smart"):
        layer_counts("smrt", LAYERS, Decimal("0.5"), residual=True)


def test_an_excluded_classifier_leaves_no_hidden_layer_in_its_place() -> None:
    net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 2))
    counts = layer_counts("smart", prunable_layers(net, ("2",)), Decimal("0.5"), residual=True)
    assert counts == [75, 25]  # (2 * 3) : (1 * 2), and none is fixed at 0.3


@pytest.mark.parametrize("ratio", ["smart", "ascend", "linear_decay", "cubic"])
def test_a_network_that_does_not_say_whether_it_is_residual_is_refused(ratio: str) -> None:
    with pytest.raises(ValueError, match=f"ratio {ratio} depends on .* give it an attribute `residual`, True or False"):
        layer_counts(ratio, LAYERS, Decimal("0.8"), residual=None)
    for other in ("uniform", "balanced", "erk"):
        assert sum(layer_counts(other, LAYERS, Decimal("0.8"), residual=None)) == 64
