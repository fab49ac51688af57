"""Tickets of each granularity, of `plain_nets`: made by hand, with the logits that they must give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from plain_nets import make
from torch import nn

from orchestrator.engine.ticket import LoadedTicket

Tensors = dict[str, torch.Tensor]
MEAN, STD = 0.3, 0.4


def pixels(count: int = 5) -> np.ndarray:
    """Images uint8 (N, 1, 8, 8)."""
    return np.random.default_rng(1).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def normalised(images: np.ndarray) -> torch.Tensor:
    """What a network is given of them."""
    return torch.from_numpy(((images / 255.0 - MEAN) / STD).astype(np.float32))


def dense() -> nn.Module:
    """A network with weights, biases and running statistics that are none of the usual ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = make(10)
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.dim() == 1 else torch.randn(tensor.shape) * 0.3)
    return net.eval()


def ticket(weights: Tensors, masks: Tensors, **provenance: Any) -> LoadedTicket:
    """A ticket of `plain_nets` with these trained weights."""
    structure = {
        "network": {"name": "plain_nets:make"},
        "input": {"shape": [1, 8, 8], "mean": [MEAN], "std": [STD]},
        "classes": [f"digit {i}" for i in range(10)],
    }
    source = provenance.pop("network_source", None)
    about = {"trial": "by_hand", "seed": 0, "method": "hand", "network_source": source, "metrics": {}, **provenance}
    return LoadedTicket(masks, weights, weights, about, structure)


def masked() -> tuple[Tensors, Tensors, nn.Module]:
    """Weights, masks and the network of a ticket with single weights removed. Removed weights are minus zero, as
    training may leave them."""
    net = dense()
    masks = {
        name: module.weight.abs() > 0.3
        for name, module in net.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    for name, mask in masks.items():
        weight = net.get_submodule(name).weight.data
        weight.copy_(torch.where(mask, weight, -0.0))
    return dict(net.state_dict()), masks, net


def with_fewer_filters() -> tuple[Tensors, Tensors, nn.Module]:
    """A ticket without channels 1, 2 and 9 inside the first block; the network is the dense one in which they are
    constantly zero."""
    net = dense()
    kept = torch.tensor([i for i in range(12) if i not in (1, 2, 9)])
    weights = dict(net.state_dict())
    for name in ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"):
        weights[f"blocks.0.{name}"] = weights[f"blocks.0.{name}"][kept].clone()
    weights["blocks.0.conv2.weight"] = weights["blocks.0.conv2.weight"][:, kept].clone()
    net.blocks[0].bn1.weight.data[[1, 2, 9]] = 0
    net.blocks[0].bn1.bias.data[[1, 2, 9]] = 0
    return weights, _all_kept(weights), net


def with_fewer_layers() -> tuple[Tensors, Tensors, nn.Module]:
    """A ticket without its second block."""
    net = dense()
    weights = {name: value for name, value in net.state_dict().items() if not name.startswith("blocks.1.")}
    net.blocks[1].forward = lambda x: x
    return weights, _all_kept(weights), net


def _all_kept(weights: Tensors) -> Tensors:
    return {
        name.removesuffix(".weight"): torch.ones(value.shape, dtype=torch.bool)
        for name, value in weights.items()
        if name.endswith(".weight") and value.dim() > 1
    }


GRANULARITIES = {"weight": masked, "filter": with_fewer_filters, "layer": with_fewer_layers}
