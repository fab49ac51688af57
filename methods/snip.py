"""SNIP: keep the weights whose removal would change the loss most, judged before training."""

from __future__ import annotations

import torch
from pydantic import Field
from torch.nn import functional as F

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.masks import keep_largest


class Snip(method.Method):
    """Score |w dL/dw| on a class-balanced batch at initialisation; keep the largest over all layers."""

    name = "snip"
    ticket = "initial"
    summary = "connection sensitivity |w dL/dw| at initialisation, global"
    paper = "Lee et al., SNIP: Single-shot Network Pruning based on Connection Sensitivity, ICLR 2019"
    uses_data = True

    class Options(method.Options):
        per_class: int = Field(10, ge=1)
        """Images of each class in a scoring batch."""
        batches: int = Field(1, ge=1)
        """Scoring batches whose gradients are added up (for memory: 1 image a class x 10 batches)."""

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under the masks of one scoring."""
        if self.options.per_class > bench.smallest_class:
            raise ValueError(
                f"per_class: {self.options.per_class} is more than the {bench.smallest_class} training images of the "
                "smallest class; lower it"
            )
        weights = bench.initialise()
        masks = bench.compute(
            snip_masks,
            weights,
            keep=budget.kept(budget.total(bench.layers), bench.sparsity),
            per_class=self.options.per_class,
            batches=self.options.batches,
        )
        return Ticket(weights, masks)


def snip_masks(bench: Workbench, weights: Tensors, keep: int, per_class: int, batches: int) -> Tensors:
    """Masks of the `keep` largest |w * dL/dw| (Lee et al. eq. 4-5), L the mean cross-entropy, in training mode."""
    net = bench.net(weights)
    parameters = dict(net.named_parameters())
    scored = [parameters[layer.parameter] for layer in bench.layers]
    gradients = [torch.zeros_like(parameter) for parameter in scored]
    for part in range(batches):
        images, labels = bench.scoring_batch(per_class, part)
        loss = F.cross_entropy(net(images), labels)
        for total, gradient in zip(gradients, torch.autograd.grad(loss, scored, materialize_grads=True), strict=True):
            total += gradient
    scores = {
        layer.name: (parameter.detach() * gradient).abs()
        for layer, parameter, gradient in zip(bench.layers, scored, gradients, strict=True)
    }
    return keep_largest(scores, keep)
