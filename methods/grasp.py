"""GraSP: keep the weights whose removal would reduce the flow of the gradient, judged before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.masks import keep_largest, refuse_zeros
from methods.snip import BatchOptions


class Grasp(method.Method):
    """Score -w (H g) on a class-balanced batch at initialisation; remove the largest over all layers."""

    name = "grasp"
    ticket = "initial"
    summary = "gradient signal preservation -w (H g) at initialisation, global"
    paper = "Wang et al., Picking Winning Tickets Before Training by Preserving Gradient Flow, ICLR 2020"
    uses_data = True
    cost = "one training, after one scoring: three passes over a batch"

    class Options(BatchOptions):
        temperature: float = Field(200.0, gt=0)
        """What logits are divided by."""
        reinitialise_linear: bool = True
        """Score with the weights of linear layers drawn anew (Xavier-normal), as the authors' code does; false scores
        the initial weights, as the paper says. The ticket's weights are the initial ones either way."""

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under the masks of one scoring."""
        self.options.refuse(bench)
        weights = bench.initialise()
        masks = bench.compute(
            grasp_masks,
            weights,
            keep=budget.kept(budget.total(bench.layers), bench.sparsity),
            **self.options.model_dump(),
        )
        return Ticket(weights, masks)


def grasp_masks(
    bench: Workbench,
    weights: Tensors,
    keep: int,
    per_class: int,
    batches: int,
    temperature: float,
    reinitialise_linear: bool,
) -> Tensors:
    """Masks of the `keep` smallest -w (H g) (Wang et al. eq. 8), g the gradient and H the Hessian of the mean
    cross-entropy at this temperature, in training mode; both are summed over halves of the batches, as in the authors'
    code."""
    net = bench.net(weights)
    if reinitialise_linear:
        for name, module in net.named_modules():
            if isinstance(module, nn.Linear):
                fresh = torch.empty(module.weight.shape, dtype=module.weight.dtype)
                nn.init.xavier_normal_(fresh, generator=bench.generator("grasp linear", name))
                module.weight.data.copy_(fresh)
    parameters = dict(net.named_parameters())
    scored = [parameters[layer.parameter] for layer in bench.layers]

    def halves() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for part in range(batches):
            images, labels = bench.scoring_batch(per_class, part)
            half = max(1, len(labels) // 2)
            for own in (slice(half), slice(half, None)):
                if len(labels[own]):
                    yield images[own], labels[own]

    def gradient(images: torch.Tensor, labels: torch.Tensor, graph: bool) -> tuple[torch.Tensor, ...]:
        loss = F.cross_entropy(net(images) / temperature, labels)
        return torch.autograd.grad(loss, scored, create_graph=graph, materialize_grads=True)

    def product(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pairs = zip(flow, gradient(images, labels, graph=True), strict=True)
        along = torch.stack([(g * own).sum() for g, own in pairs]).sum()
        return torch.autograd.grad(along, scored, materialize_grads=True)

    with sdpa_kernel(SDPBackend.MATH), _TwiceDifferentiable():
        # one half's gradients at a time: `batches` is there to save memory
        flow = _sum(gradient(*half, graph=False) for half in halves())
        summed = _sum(product(*half) for half in halves())
    scores = {
        layer.name: weight.detach() * total for layer, weight, total in zip(bench.layers, scored, summed, strict=True)
    }
    refuse_zeros(scores)
    return keep_largest(scores, keep)  # the largest w (H g): the smallest scores


def _sum(parts: Iterator[tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
    total = list(next(parts))
    for part in parts:
        total = [so_far + own for so_far, own in zip(total, part, strict=True)]
    return total


class _TwiceDifferentiable(TorchFunctionMode):
    """Writes the hard sigmoid, the one activation of torch that cannot be differentiated twice, as others that can.
    Of attention, the kernel MATH alone can be."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.hardsigmoid:
            return F.relu6((args[0] if args else kwargs["input"]) + 3) / 6
        return function(*args, **kwargs)
