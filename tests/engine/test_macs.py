"""Multiply-accumulates, against numbers counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.layers import prunable_layers
from orchestrator.engine.macs import Macs, macs, sparse_macs
from orchestrator.engine.nets import build, skeleton
from orchestrator.spec.models import Model

SHAPE = (3, 8, 8)


class _Nested(nn.Module):
    """A strided convolution of nine places, a grouped one, a linear map, with dots in the names."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict(
            {
                "first": nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU()),
                "second": nn.Conv2d(4, 8, 1, groups=2),
            }
        )
        self.fc = nn.Linear(8 * 9, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body["second"](self.body["first"](x)).flatten(1))


FIRST, SECOND, LAST = 9 * 4 * 3 * 9, 9 * 8 * 2, 72 * 10
"""Places x outputs x inputs x kernel; grouped: each output sees half of the inputs; linear: in x out."""


def test_layers_are_counted_by_hand() -> None:
    net = _Nested()
    counted = macs(net, SHAPE, prunable_layers(net))
    assert counted == Macs(FIRST + SECOND + LAST, {"body.first.0": FIRST, "body.second": SECOND, "fc": LAST})


def test_counting_leaves_the_network_alone() -> None:
    net = _Nested().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    macs(net, SHAPE, prunable_layers(net))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_skeleton_counts_as_the_network_does() -> None:
    model = Model(name="resnet8")
    real, bare = build(model, 10, (3, 32, 32), 0), skeleton(model, 10, (3, 32, 32))
    layers = prunable_layers(bare)
    assert macs(bare, (3, 32, 32), layers) == macs(real, (3, 32, 32), layers)


def test_vgg19_on_cifar_by_hand() -> None:
    net = skeleton(Model(name="vgg19"), 10, (3, 32, 32))
    counted = macs(net, (3, 32, 32), prunable_layers(net))
    places, inputs, expected = 32 * 32, 3, []
    for outputs, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            expected.append(places * 9 * inputs * outputs)
            inputs = outputs
        places //= 4
    assert list(counted.layers.values()) == [*expected, 5120]
    assert counted.total == sum(expected) + 5120 == 398_136_320


def test_an_excluded_layer_counts_fully() -> None:
    net = _Nested()
    counted = macs(net, SHAPE, prunable_layers(net, exclude=("fc",)))
    assert counted.total == FIRST + SECOND + LAST
    assert set(counted.layers) == {"body.first.0", "body.second"}
    assert sparse_macs(counted, {"body.first.0": 0.0, "body.second": 0.0}) == LAST


class _Twice(nn.Module):
    """One layer that runs twice, and two modules that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(192, 192)
        self.again = self.a
        self.b = nn.Linear(192, 5)
        self.tied = nn.Linear(192, 5)
        self.tied.weight = self.b.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.again(self.a(x.flatten(1)))
        return self.b(x) + self.tied(x)


def test_a_layer_that_runs_twice_and_a_shared_weight_count_twice() -> None:
    net = _Twice()
    layers = prunable_layers(net)
    assert [layer.name for layer in layers] == ["a", "b"]
    assert macs(net, SHAPE, layers) == Macs(2 * 192 * 192 + 2 * 192 * 5, {"a": 2 * 192 * 192, "b": 2 * 192 * 5})


class _Product(nn.Module):
    """A matrix product in no layer: 3 x 64 by 64 x 3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2)
        return x @ x.transpose(1, 2)


def test_a_product_outside_of_layers_is_in_the_total_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), _Product())
    counted = macs(net, SHAPE, prunable_layers(net))
    assert counted == Macs(64 * 9 + 3 * 64 * 3, {"0": 64 * 9})


def test_removed_weights_cost_nothing() -> None:
    counted = Macs(100, {"a": 60, "b": 30})
    assert sparse_macs(counted, {"a": 0.5, "b": 0.1}) == pytest.approx(10 + 30 + 3)
    assert sparse_macs(counted, {"a": 1.0, "b": 1.0}) == 100
    assert sparse_macs(counted, {"b": 0.0}) == 70


def test_attention_is_counted() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
            self.fc = nn.Linear(16, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.layer(x.flatten(2)[:, :, :16]).mean(1))  # 3 tokens of 16

    net = Attends()
    before = torch.backends.mha.get_fastpath_enabled()
    counted = macs(net, SHAPE, prunable_layers(net))
    # queries, keys, values; scores and their use, over all heads; the output map; two linear maps; the classifier
    assert counted.total == 3 * 16 * 48 + 2 * 3 * 3 * 16 + 3 * 16 * 16 + 2 * 3 * 16 * 32 + 160
    assert torch.backends.mha.get_fastpath_enabled() == before
