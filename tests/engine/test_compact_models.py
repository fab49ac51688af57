"""For every shipped model, under random masks: the compact network gives the masked network's logits."""

from __future__ import annotations

import inspect
from typing import Any

import families
import pytest
import torch
from emptied import SPARSITIES, lively, mask, the_same
from torch import nn

from methods.layers import prunable_layers
from orchestrator.engine.nets import build, registry
from orchestrator.spec.models import Model

CHAINS = ("lenet_300_100", "convnet", "conv3", "vgg11")
"""Networks whose prunable layers follow one another, each reading the one before alone."""


def own_net(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """A built-in network, narrow where it can be, and the shape of its images."""
    shape = (1, 28, 28) if name.startswith("lenet") else (3, 16, 16) if name.startswith("vgg") else (3, 32, 32)
    takes = inspect.signature(registry.BUILDERS[name]).parameters
    options: dict[str, Any] = {"width": 0.5} if "width" in takes else {}
    return build(Model(name=name, **options), 10, shape, 0), shape


@pytest.mark.parametrize("name", registry.known())
def test_built_in_networks_give_the_same_logits(name: str) -> None:
    net, shape = own_net(name)
    made = the_same(lively(mask(net, SPARSITIES, kill=0.3, least=3), shape), shape, varied=True)
    assert made.changed
    assert made.after < made.before
    assert made.macs_after < made.macs_before


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("name", ["lenet5", "convnet", "resnet8", "vgg11"])
def test_at_each_sparsity(name: str, sparsity: float) -> None:
    net, shape = own_net(name)
    the_same(lively(mask(net, (sparsity,)), shape), shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", families.FAMILIES)
def test_torchvisions_networks_give_the_same_logits(name: str) -> None:
    side = families.FAMILIES[name]
    shape = (3, side, side)
    net = build(Model(name=name), 10, shape, 0)
    made = the_same(lively(mask(net, SPARSITIES, kill=0.2, least=3), shape), shape, varied=True)
    assert made.after < made.before


@pytest.mark.parametrize("sparsity", [0.9, 0.98])
@pytest.mark.parametrize("name", CHAINS)
def test_what_stays_of_a_chain_is_what_connects_images_with_logits(name: str, sparsity: float) -> None:
    net, shape = own_net(name)
    made = the_same(lively(mask(net, (sparsity,)), shape), shape)
    assert [kept for kept, _ in made.layers.values()] == connected(net)
    assert made.after < made.before * (0.5 if sparsity == 0.98 and name in ("lenet_300_100", "convnet") else 1)


def connected(net: nn.Module) -> list[int]:
    """How many outputs of each layer lie on a path of weights from the images to a logit; of the last layer all."""
    reads = []
    for layer in prunable_layers(net):
        weight = net.get_parameter(layer.parameter)
        found = (weight != 0).reshape(len(weight), weight.shape[1], -1).any(2)
        if reads and found.shape[1] != len(reads[-1]):  # several places of each channel
            found = found.reshape(len(found), len(reads[-1]), -1).any(2)
        reads.append(found)
    forward = [torch.ones(reads[0].shape[1], dtype=torch.bool)]
    for found in reads:
        forward.append((found & forward[-1]).any(1))
    backward = [torch.ones(len(reads[-1]), dtype=torch.bool)]
    for found in reversed(reads[1:]):
        backward.append((found & backward[-1][:, None] & forward[len(reads) - len(backward)][None]).any(0))
    kept = [int((ahead & behind).sum()) for ahead, behind in zip(forward[1:], reversed(backward), strict=True)]
    return [*kept[:-1], len(reads[-1])]
