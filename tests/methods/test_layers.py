"""Which weights are prunable, in which order, under which names."""

from __future__ import annotations

import pytest
from torch import nn

from methods.layers import Layer, is_residual, prunable_layers


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, groups=2))
        self.embedding = nn.Embedding(5, 8)
        self.again = self.body[0]
        self.fc1 = nn.Linear(8, 6)
        self.fc2 = nn.Linear(8, 6)
        self.fc2.weight = self.fc1.weight
        self.head = nn.Linear(6, 2)


def test_convolutions_and_linear_maps_in_module_order_each_weight_once() -> None:
    assert prunable_layers(_Net()) == (
        Layer("body.0", (4, 3, 3, 3), False),
        Layer("body.2", (8, 2, 3, 3), False),
        Layer("fc1", (6, 8)),
        Layer("head", (2, 6), True),
    )


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (("head",), ["body.0", "body.2", "fc1"]),
        (("body.*",), ["fc1", "head"]),
        (("fc?", "head"), ["body.0", "body.2"]),
        (("*",), []),
        (("bod",), ["body.0", "body.2", "fc1", "head"]),
    ],
)
def test_patterns_leave_layers_out(exclude: tuple[str, ...], left: list[str]) -> None:
    assert [layer.name for layer in prunable_layers(_Net(), exclude)] == left


def test_the_classifier_is_the_last_linear_map_of_the_whole_network() -> None:
    assert [layer.name for layer in prunable_layers(_Net()) if layer.classifier] == ["head"]
    assert not any(layer.classifier for layer in prunable_layers(_Net(), ("head",)))
    assert not any(layer.classifier for layer in prunable_layers(nn.Conv2d(3, 4, 1)))


def test_names_and_counts_of_a_layer() -> None:
    layer = Layer("body.0", (4, 3, 3, 3), False)
    assert (layer.weights, layer.parameter) == (108, "body.0.weight")
    (alone,) = prunable_layers(nn.Linear(3, 2))
    assert (alone.name, alone.parameter) == ("", "weight")


def test_every_layer_is_in_the_state_dict() -> None:
    net = _Net()
    state = net.state_dict()
    assert all(tuple(state[layer.parameter].shape) == layer.shape for layer in prunable_layers(net))


@pytest.mark.parametrize(("said", "meant"), [(True, True), (False, False), (nn.Identity(), None), (None, None)])
def test_a_network_says_whether_it_is_residual(said: object, meant: bool | None) -> None:
    net = nn.Linear(2, 2)
    assert is_residual(net) is None
    net.residual = said
    assert is_residual(net) is meant
