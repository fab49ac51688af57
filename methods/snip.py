"""SNIP: keep the weights whose removal would change the loss most, judged before training."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from methods import budget, method
from methods.bench import Tensors, Ticket, Workbench
from methods.rounds import kept_in_rounds


class BatchOptions(method.Options):
    """Of methods that score on class-balanced batches of training images."""

    per_class: int = Field(10, ge=1)
    """Images of each class in a scoring batch."""
    batches: int = Field(1, ge=1)
    """Scoring batches whose gradients are added up (for memory: 1 image a class x 10 batches)."""

    def refuse(self, bench: Workbench) -> None:
        """Raise ValueError where a class has fewer images than a batch asks for."""
        if self.per_class > bench.smallest_class:
            raise ValueError(
                f"per_class: {self.per_class} is more than the {bench.smallest_class} training images of the smallest "
                "class; lower it"
            )


class Snip(method.Method):
    """Score |w dL/dw| on a class-balanced batch at initialisation; keep the largest over all layers."""

    name = "snip"
    ticket = "initial"
    summary = "connection sensitivity |w dL/dw| at initialisation, global"
    paper = (
        "Lee et al., SNIP: Single-shot Network Pruning based on Connection Sensitivity, ICLR 2019; de Jorge et al., "
        "Progressive Skeletonization, ICLR 2021 (iterative)"
    )
    uses_data = True
    cost = "one training, after a scoring of a batch in each round"

    class Options(BatchOptions):
        rounds: int = Field(1, ge=1)
        """Scorings, each of what the one before has left, on fresh batches; the density falls exponentially. 1 is
        SNIP as published, 100 is iterative SNIP."""

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under the masks of the scorings."""
        self.options.refuse(bench)
        weights = bench.initialise()
        masks = bench.compute(
            snip_masks,
            weights,
            keep=budget.kept(budget.total(bench.layers), bench.sparsity),
            per_class=self.options.per_class,
            batches=self.options.batches,
            rounds=self.options.rounds,
        )
        return Ticket(weights, masks)


def snip_masks(bench: Workbench, weights: Tensors, keep: int, per_class: int, batches: int, rounds: int = 1) -> Tensors:
    """Masks of the `keep` largest |w * dL/dw| (Lee et al. eq. 4-5), L the mean cross-entropy, in training mode."""

    def score(net: nn.Module, scored: dict[str, nn.Parameter], number: int) -> Tensors:
        summed = [torch.zeros_like(weight) for weight in scored.values()]
        for part in range(number * batches, (number + 1) * batches):
            images, labels = bench.scoring_batch(per_class, part)
            loss = F.cross_entropy(net(images), labels)
            gradients = torch.autograd.grad(loss, list(scored.values()), materialize_grads=True)
            for total, gradient in zip(summed, gradients, strict=True):
                total += gradient
        pairs = zip(scored.items(), summed, strict=True)
        return {name: (weight.detach() * gradient).abs() for (name, weight), gradient in pairs}

    return kept_in_rounds(bench, bench.net(weights), keep, rounds, score)
