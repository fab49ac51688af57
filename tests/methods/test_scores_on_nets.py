"""Every score on what networks are built of: attention, gates, channels that come last, ReLU6; in float32, channels
last, as the engine has them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from benches import ScoringBench
from torch import nn
from torchvision.models import ConvNeXt, MobileNetV3, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig

from methods import budget
from methods.fisher import fisher_masks
from methods.grasp import grasp_masks
from methods.snip import snip_masks
from methods.synflow import flow, positive, synflow_masks
from orchestrator.engine import nets
from orchestrator.spec.models import Model

CLASSES, SIDE = 4, 32


def _vit() -> nn.Module:
    net = VisionTransformer(SIDE, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=CLASSES)
    nn.init.xavier_normal_(net.heads.head.weight)  # torchvision's begins at zero
    return net


def _swin() -> nn.Module:
    return SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], stochastic_depth_prob=0.0, num_classes=CLASSES)


def _convnext() -> nn.Module:
    return ConvNeXt([CNBlockConfig(16, 24, 1), CNBlockConfig(24, None, 1)], layer_scale=1.0, num_classes=CLASSES)


def _gated() -> nn.Module:
    """MobileNetV3: hard swish, and gates of the hard sigmoid."""
    blocks = [
        InvertedResidualConfig(16, 3, 24, 16, True, "RE", 2, 1, 1.0),
        InvertedResidualConfig(16, 3, 32, 24, True, "HS", 1, 1, 1.0),
    ]
    return MobileNetV3(blocks, last_channel=32, num_classes=CLASSES)


def _relu6() -> nn.Module:
    return nets.build(Model(name="mobilenet_v2_cifar", width=0.25), CLASSES, (3, SIDE, SIDE), seed=0)


def _residual() -> nn.Module:
    return nets.build(Model(name="resnet8", width=0.5), CLASSES, (3, SIDE, SIDE), seed=0)


NETS: dict[str, Callable[[], nn.Module]] = {
    own.__name__[1:]: own for own in (_vit, _swin, _convnext, _gated, _relu6, _residual)
}
BATCH: dict[str, Any] = {"per_class": 2, "batches": 1}
SCORES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "snip": (snip_masks, {**BATCH, "rounds": 2}),
    "grasp": (grasp_masks, {**BATCH, "temperature": 200.0, "reinitialise_linear": True}),
    "fisher": (fisher_masks, BATCH),
    "synflow": (synflow_masks, {"rounds": 30}),
}


class _Bench(ScoringBench):
    """As the engine: a fresh copy each time, in memory order channels last."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net, [])
        self.shape = (3, SIDE, SIDE)

    def net(self, weights: dict[str, torch.Tensor]) -> nn.Module:
        made = copy.deepcopy(self._net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        made.load_state_dict(weights)
        return made.train()

    def scoring_batch(self, per_class: int, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        draw = torch.Generator().manual_seed(part)
        images = torch.randn(CLASSES * per_class, *self.shape, generator=draw)
        return images.to(memory_format=torch.channels_last), torch.arange(len(images)) % CLASSES


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("method", SCORES)
def test_the_count_is_exact_and_the_same_twice(method: str, net: str) -> None:
    torch.manual_seed(0)
    bench: Any = _Bench(NETS[net]())
    weights = {name: value.clone() for name, value in bench._net.state_dict().items()}
    bench._net.load_state_dict(weights)
    keep = budget.total(bench.layers) // 4
    function, options = SCORES[method]
    found = []
    for _ in range(2):
        torch.manual_seed(1)  # of dropout: the engine seeds the global generators
        found.append(function(bench, weights, keep=keep, **options))
    assert sum(int(mask.sum()) for mask in found[0].values()) == keep
    assert all(torch.equal(mask, found[1][name]) for name, mask in found[0].items()), "not the same twice"
    assert all(torch.equal(value, weights[name]) for name, value in bench._net.state_dict().items())


@pytest.mark.parametrize("net", NETS)
def test_synflow_never_stops_the_flow(net: str) -> None:
    """Where whole branches are emptied, others pass them by."""
    torch.manual_seed(0)
    bench: Any = _Bench(NETS[net]())
    weights = {name: value.clone() for name, value in bench._net.state_dict().items()}
    masks = synflow_masks(bench, weights, keep=budget.total(bench.layers) // 20, rounds=100)
    for layer in bench.layers:
        weights[layer.parameter] *= masks[layer.name]
    assert flow(positive(bench.net(weights)), bench.shape) > 0
    assert net != "relu6" or all(mask.any() for mask in masks.values())
