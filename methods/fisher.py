"""Fisher pruning at initialisation: keep the weights to which the loss of single images is most sensitive."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.masks import keep_largest, refuse_zeros
from methods.snip import BatchOptions


class Fisher(method.Method):
    """Score the sum over images of (w dL_n/dw)^2 at initialisation; keep the largest over all layers."""

    name = "fisher"
    ticket = "initial"
    summary = "empirical Fisher information w^2 sum (dL_n/dw)^2 at initialisation, global"
    paper = "Theis et al., Faster Gaze Prediction with Dense Networks and Fisher Pruning, 2018"
    uses_data = True
    cost = "one training, after one scoring: a pass for each image of a batch"
    Options = BatchOptions

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under the masks of one scoring."""
        self.options.refuse(bench)
        weights = bench.initialise()
        keep = budget.kept(budget.total(bench.layers), bench.sparsity)
        return Ticket(weights, bench.compute(fisher_masks, weights, keep=keep, **self.options.model_dump()))


def fisher_masks(bench: Workbench, weights: Tensors, keep: int, per_class: int, batches: int) -> Tensors:
    """Masks of the `keep` largest sum_n (w dL_n/dw)^2 (Theis et al. eq. 8 for single weights, up to a factor), L_n the
    cross-entropy of one image. Images are independent of each other only if batch norm does not mix them: it uses the
    scoring batch's mean and variance, as constants. Dropout is off."""
    net = bench.net(weights)
    parameters = dict(net.named_parameters())
    scored = [parameters[layer.parameter] for layer in bench.layers]
    summed = [torch.zeros_like(weight) for weight in scored]
    for part in range(batches):
        images, labels = bench.scoring_batch(per_class, part)
        _take_statistics(net, images)
        for i in range(len(labels)):
            loss = F.cross_entropy(net(images[i : i + 1]), labels[i : i + 1])
            for total, own in zip(summed, torch.autograd.grad(loss, scored, materialize_grads=True), strict=True):
                total += own.square()
    scores = {
        layer.name: weight.detach().square() * total
        for layer, weight, total in zip(bench.layers, scored, summed, strict=True)
    }
    refuse_zeros(scores)
    return keep_largest(scores, keep)


def _take_statistics(net: nn.Module, images: torch.Tensor) -> None:
    """Have batch norm use these images' mean and variance from here on."""
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    kept = [module.momentum for module in norms]
    net.eval()
    for module in norms:
        module.train()
        module.momentum = 1.0
    with torch.no_grad():
        net(images)
    for module, momentum in zip(norms, kept, strict=True):
        module.momentum = momentum
    net.eval()
