"""Multiply-accumulates of a network, dense and under masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from methods.layers import Layer
from orchestrator.engine.nets.copies import with_zeros


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one image in the dense network."""

    total: int
    """Of all convolutions, linear maps and other matrix products. Normalisation, activations, pooling and
    biases are not counted."""
    layers: dict[str, int]
    """Layer name -> those of that prunable layer."""


def macs(net: nn.Module, shape: tuple[int, int, int], layers: Sequence[Layer]) -> Macs:
    """Count the multiply-accumulates of one image of `shape` (C, H, W) by torch's flop counter, 2 FLOPs being
    1 MAC, on a copy of the network, which may be on the meta device. A layer that runs twice counts twice,
    and so does a weight that two modules share."""
    net = with_zeros(net).eval()  # batch norm cannot train on one image
    counter = FlopCounterMode(display=False)
    modules = dict(net.named_modules())
    names = {id(modules[layer.name].weight): layer.name for layer in layers}
    flops = dict.fromkeys((layer.name for layer in layers), 0)
    for module in modules.values():
        name = names.get(id(getattr(module, "weight", None)))
        if name is not None:
            _count(module, name, counter, flops)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # of whose fused attention the counter knows nothing
    try:
        with torch.no_grad(), counter:
            net(torch.zeros(1, *shape))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return Macs(counter.get_total_flops() // 2, {name: count // 2 for name, count in flops.items()})


def _count(module: nn.Module, name: str, counter: FlopCounterMode, flops: dict[str, int]) -> None:
    """Have what the counter gains during the module's forward added to `flops[name]`. The counter's own
    totals by module are no use here: a module that stands in two places has only one of its names there."""

    def before(*_: Any) -> None:
        flops[name] -= counter.get_total_flops()

    def after(*_: Any) -> None:
        flops[name] += counter.get_total_flops()

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)


def sparse_macs(macs: Macs, densities: Mapping[str, float]) -> float:
    """Multiply-accumulates of one image if removed weights cost nothing: each layer's count times its density
    (fraction kept). Layers that `densities` leaves out, and what is in no layer, count fully."""
    saved = sum(count * (1 - densities.get(name, 1.0)) for name, count in macs.layers.items())
    return macs.total - saved


def macs_by_parameter(macs: Macs, layers: Mapping[str, str], densities: Mapping[str, float]) -> float:
    """`sparse_macs`, given the density of each masked parameter; `layers`: their layers' names."""
    return sparse_macs(macs, {layers[name]: density for name, density in densities.items()})
