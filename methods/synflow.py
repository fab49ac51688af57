"""SynFlow: keep the weights that carry the synaptic flow, without looking at data."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import nn

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.rounds import kept_in_rounds

NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)


class Synflow(method.Method):
    """Score |w dR/dw|, R the sum of the outputs for an input of ones in the network of |w|; remove the smallest, in
    many rounds."""

    name = "synflow"
    ticket = "initial"
    summary = "synaptic flow |w dR/dw| of the network of |w| on an input of ones, in rounds"
    paper = "Tanaka et al., Pruning Neural Networks without Any Data by Conserving Synaptic Flow, NeurIPS 2020"
    uses_data = False

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
    net = flowing(bench.net(weights))
    ones = torch.ones(1, *bench.shape, dtype=torch.float64, device=next(net.parameters()).device)

    def score(net: nn.Module, scored: dict[str, nn.Parameter], number: int) -> Tensors:
        flow = net(ones).sum()
        gradients = torch.autograd.grad(flow, list(scored.values()), materialize_grads=True)
        return {
            name: (weight.detach() * own).abs() for (name, weight), own in zip(scored.items(), gradients, strict=True)
        }

    return kept_in_rounds(bench, net, keep, rounds, score)


def flowing(net: nn.Module) -> nn.Module:
    """The network in which flow is conserved, made of `net` itself: float64, |w|, no biases, dropout off, and
    normalisation that multiplies by |gamma| and does nothing else. ReLU lets everything through there, since nothing is
    negative."""
    net = net.double().eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.abs_()
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
    for module in net.modules():
        if isinstance(module, NORMS):
            module.register_forward_hook(_scaled)
    return net


def _scaled(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """What stands for a normalisation's output: its input times |gamma|."""
    (x,), gamma = inputs, module.weight
    if gamma is None:
        return x
    if not isinstance(module, nn.LayerNorm):
        gamma = gamma.view(-1, *[1] * (x.dim() - 2))  # a gamma for each channel, the second dimension
    return x * gamma
