"""SynFlow: keep the weights that carry the synaptic flow, without looking at data."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.rounds import kept_in_rounds

NORMS = {F.batch_norm, F.instance_norm, F.group_norm, F.layer_norm, F.rms_norm}
ACTIVATIONS = {
    *(F.relu6, F.hardtanh, F.hardswish, F.silu, F.mish, F.gelu, F.selu, F.softplus),
    *(torch.tanh, torch.Tensor.tanh, torch.selu),
}
"""Activations that do more to what is not negative than let it through."""
SOFTMAX = {F.softmax, torch.softmax, torch.Tensor.softmax}


class Synflow(method.Method):
    """Score |w dR/dw|, R the sum of the outputs for an input of ones in the network of |w|; remove the smallest, in
    many rounds."""

    name = "synflow"
    ticket = "initial"
    summary = "synaptic flow |w dR/dw| of the network of |w| on an input of ones, in rounds"
    paper = "Tanaka et al., Pruning Neural Networks without Any Data by Conserving Synaptic Flow, NeurIPS 2020"
    uses_data = False
    cost = "one training, after a scoring of a single input in each round"

    class Options(method.Options):
        rounds: int = Field(100, ge=1)
        """Scorings, each of what the one before has left; the density falls exponentially."""

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under the masks of the scorings."""
        weights = bench.initialise()
        keep = budget.kept(budget.total(bench.layers), bench.sparsity)
        return Ticket(weights, bench.compute(synflow_masks, weights, keep=keep, rounds=self.options.rounds))


def synflow_masks(bench: Workbench, weights: Tensors, keep: int, rounds: int) -> Tensors:
    """Masks of the `keep` weights with the largest synaptic flow (Tanaka et al., algorithm 1), scored in float64: the
    flow of a deep network is beyond float32."""
    net = positive(bench.net(weights))

    def score(net: nn.Module, scored: dict[str, nn.Parameter], number: int) -> Tensors:
        gradients = torch.autograd.grad(flow(net, bench.shape), list(scored.values()), materialize_grads=True)
        return {
            name: (weight.detach() * own).abs() for (name, weight), own in zip(scored.items(), gradients, strict=True)
        }

    return kept_in_rounds(bench, net, keep, rounds, score)


def positive(net: nn.Module) -> nn.Module:
    """The network with |w| for its parameters, zero for its biases and for the queries of `nn.MultiheadAttention` (see
    `flow`), in float64, dropout off; made of `net` itself."""
    net = net.double().eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.abs_()
            if name.endswith("bias"):  # attention has an in_proj_bias
                parameter.zero_()
        for module in net.modules():
            if isinstance(module, nn.MultiheadAttention):  # one function of torch, whose inside no mode reaches
                joint = module.in_proj_weight
                (module.q_proj_weight if joint is None else joint[: module.embed_dim]).zero_()
    return net


def flow(net: nn.Module, shape: tuple[int, int, int]) -> torch.Tensor:
    """R, the sum of the outputs of a positive network for one image of ones.

    Normalisation multiplies by |gamma| and does nothing else. Activations let everything through, as ReLU does with
    what is not negative: ReLU6, or any that saturates, would stop the flow. Attention averages: its logits grow with
    the square of the flow, so that rounding errors would choose softmax's maximum, and its slope would be nothing or
    beyond all bounds. Queries and keys therefore carry no flow. Gates (sigmoid) stay as they are: open, they pass
    everything, and carry nothing either."""
    ones = torch.ones(1, *shape, dtype=torch.float64, device=next(net.parameters()).device)
    with _Linearised():
        return net(ones).sum()


class _Linearised(TorchFunctionMode):
    """Replaces functions, not modules, so that it reaches those that a network calls by itself."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in ACTIVATIONS:
            return args[0] if args else kwargs["input"]
        if function in SOFTMAX:
            args, kwargs = tuple(map(_nothing, args)), {name: _nothing(value) for name, value in kwargs.items()}
        if function is F.scaled_dot_product_attention:
            args = (_nothing(args[0]), *args[1:]) if args else args
            kwargs = {name: _nothing(value) if name == "query" else value for name, value in kwargs.items()}
        if function in NORMS:
            given = inspect.signature(function).bind(*args, **kwargs).arguments
            x, gamma = given["input"], given.get("weight")
            if gamma is None:
                return x
            # of the last dimensions, or of the channels, which are the second
            own = function in (F.layer_norm, F.rms_norm)
            return x * (gamma if own else gamma.view(-1, *[1] * (x.dim() - 2)))
        return function(*args, **kwargs)


def _nothing(value: Any) -> Any:
    """Zeros for a tensor."""
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) else value
