"""What a filter does to the loss and to its features, over batches of training images: what criteria are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from methods.bench import Tensors, Workbench
from methods.layers import PRUNABLE

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)


def gates(net: nn.Module, images: torch.Tensor) -> dict[str, str]:
    """Layer name -> the module whose output stands for its filters: the normalisation that takes the layer's output,
    or the layer itself. Only layers that run. The network is left in evaluation mode."""
    made: dict[int, str] = {}
    found: dict[str, str] = {}
    kept = []  # alive, so that no id is used twice

    def look(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        kept.append(output)
        if isinstance(module, PRUNABLE):
            made[id(output)] = found[name] = name
        elif isinstance(module, NORMS) and id(inputs[0]) in made:
            found[made[id(inputs[0])]] = name

    # in evaluation mode, where looking does not move batch norm's averages
    with hooked(net.eval(), look), torch.no_grad():
        net(images)
    return found


@contextmanager
def hooked(net: nn.Module, look: Any) -> Iterator[None]:
    """Have `look(name, module, inputs, output)` called after every module's forward; what it returns, unless None,
    stands for the output."""
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: look(name, module, inputs, output))
        for name, module in net.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Tap(torch.autograd.Function):
    """Lets features through, and notes on the way back what they and their gradients say of each channel."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, channel: int, noted: Tensors) -> torch.Tensor:
        ctx.save_for_backward(features)
        ctx.channel, ctx.noted = channel, noted
        return features.clone()  # which the network may change in place

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (features,) = ctx.saved_tensors
        product = (features * gradient).double()
        others = [i for i in range(product.dim()) if i != ctx.channel % product.dim()]
        for name, value in (
            ("taylor_feature", product.abs().mean(others)),
            ("gate_taylor", product.sum(others).square()),
        ):
            ctx.noted[name] = ctx.noted.get(name, 0) + value
        return gradient, None, None


def signals(bench: Workbench, weights: Tensors, batch: int, batches: int | None) -> dict[str, dict[str, torch.Tensor]]:
    """Of every layer that runs, by filter, the mean over the batches of (Molchanov et al.; tickets of LayerPrune):
    "taylor_weight": the sum over its weights of (w dL/dw)^2; "taylor_feature": the mean over images and places of
    |a dL/da|; "gate_taylor": (dL/dg)^2 of a gate of ones on its features a = g a. Float64. In training mode, on weights
    that stay as they are."""
    net = bench.net(weights)
    parameters = dict(net.named_parameters())
    gate_of: dict[str, str] = {}
    layers = {layer.name: parameters[layer.parameter] for layer in bench.layers if layer.parameter in parameters}
    noted: dict[str, Tensors] = {name: {} for name in layers}
    squares = {name: torch.zeros(len(weight), dtype=torch.float64) for name, weight in layers.items()}
    count = 0
    for images, labels in bench.images("train", batch):
        if count == batches:
            break
        if not count:
            gate_of = {gate: name for name, gate in gates(net, images[:2]).items() if name in layers}
            net.train()
        count += 1

        with hooked(net, partial(_tapped, gate_of, noted)):
            loss = F.cross_entropy(net(images), labels)
        found = torch.autograd.grad(loss, list(layers.values()), materialize_grads=True)
        for (name, weight), gradient in zip(layers.items(), found, strict=True):
            squares[name] += (weight.detach() * gradient).double().square().flatten(1).sum(1).cpu()
    ran = set(gate_of.values())
    return {
        name: {
            "taylor_weight": squares[name] / count,
            **{what: value.cpu() / count for what, value in noted[name].items()},
        }
        for name in layers
        if name in ran
    }


def _tapped(
    gate_of: dict[str, str], noted: dict[str, Tensors], name: str, module: nn.Module, inputs: Any, output: torch.Tensor
) -> torch.Tensor | None:
    """The output of a gate, tapped."""
    if name not in gate_of:
        return None
    channel = -1 if isinstance(module, nn.Linear | nn.LayerNorm) else 1
    return _Tap.apply(output, channel, noted[gate_of[name]])
