"""A ticket type in a package of its own: installed beside Jackpot, it appears in `jackpot methods`."""

from __future__ import annotations

import torch
from pydantic import Field
from torch.nn import functional as F

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.masks import keep_largest


class Gradient(method.Method):
    """Keep the weights with the largest gradient at initialisation: SNIP without the weight's own size."""

    name = "gradient"
    ticket = "initial"
    summary = "largest |dL/dw| at initialisation, global"
    paper = "none: an example, and a control for snip"
    uses_data = True

    class Options(method.Options):
        per_class: int = Field(default=10, ge=1)
        """Images of each class in the scoring batch."""

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under the masks of one scoring."""
        weights = bench.initialise()
        keep = budget.kept(budget.total(bench.layers), bench.sparsity)
        masks = bench.compute(gradient_masks, weights, keep=keep, per_class=self.options.per_class)
        return Ticket(weights, masks)


def gradient_masks(bench: Workbench, weights: Tensors, keep: int, per_class: int) -> Tensors:
    """Masks of the `keep` largest |dL/dw|, L the mean cross-entropy on a class-balanced batch."""
    net = bench.net(weights)
    parameters = dict(net.named_parameters())
    scored = [parameters[layer.parameter] for layer in bench.layers]
    images, labels = bench.scoring_batch(per_class)
    gradients: tuple[torch.Tensor, ...] = torch.autograd.grad(F.cross_entropy(net(images), labels), scored)
    return keep_largest({layer.name: g.abs() for layer, g in zip(bench.layers, gradients, strict=True)}, keep)
