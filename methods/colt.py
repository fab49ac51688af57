"""COLT: tickets on which networks trained on different classes agree."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import partial
from typing import Literal

import torch
from pydantic import Field

from methods import budget, method
from methods.bench import DataView, Tensors, Ticket, Workbench
from methods.head import with_own_head, with_whole_head
from methods.layers import Layer
from methods.masks import keep_largest

MAX_ROUNDS = 1000
"""More are taken for a slip in `fraction`: each round trains every copy once."""


class Colt(method.Method):
    """Train a copy of the network on each block of the classes, prune each, keep the weights that all of them keep,
    rewind to the shared initial weights, again and again until the sparsity is reached."""

    name = "colt"
    ticket = "initial"
    summary = "cyclic overlapping lottery tickets: the weights kept by networks trained on different classes"
    prunes = "iteratively"
    paper = "Hossain et al., COLT: Cyclic Overlapping Lottery Tickets for Faster Pruning, IEEE TAI 2025"
    uses_data = True
    cost = (
        "in each round a training of every copy on its part of the data; then one of the ticket. How many rounds "
        "depends on the data: fewest where copies agree least"
    )

    class Options(method.Options):
        partitions: int = Field(2, ge=2)
        """Blocks that the classes are cut into, and copies of the network."""
        fraction: Decimal = Field(Decimal("0.15"), gt=0, lt=1)
        """Fraction of the remaining weights that a round removes from each copy; what any copy removes is gone."""
        epochs: int | None = Field(None, ge=1)
        """Length of the training of each copy in a round (default: that of the recipe; the paper's is 50)."""
        scope: Literal["global", "layerwise"] = "global"
        """Rank the weights of all layers together, or remove the same fraction in each."""
        prune_linear: bool = False
        """Whether linear layers are pruned too, the classifier excepted; the paper prunes convolutions alone."""
        exact: bool = True
        """Meet the sparsity to the weight by a last round that removes less; false keeps whole rounds, the last of
        which reaches the sparsity or goes past it."""

    def find(self, bench: Workbench) -> Ticket:
        """Rounds of training, pruning and overlap. How much two copies agree is not known before, so the plan is the
        slowest course: that of copies which agree in everything."""
        copies = self._copies(bench)
        dense = self._dense(bench, copies[0])
        theta_0 = bench.initialise()
        starts = [copy.compute(with_own_head, copy.initialise(), theta_0, classes=bench.classes) for copy in copies]
        total = sum(layer.weights for layer in bench.layers if layer.name not in dense)
        target = budget.kept(budget.total(bench.layers), bench.sparsity) - (budget.total(bench.layers) - total)
        self._refuse(bench, total, target)
        masks, left = copies[0].dense_masks(), total
        while True:
            trained = bench.side_by_side(
                [partial(copy.train, start, masks) for copy, start in zip(copies, starts, strict=True)]
            )
            options = {"dense": dense, "scope": self.options.scope}
            overlap = copies[0].compute(overlapping, masks, *trained, fraction=str(self.options.fraction), **options)
            count = copies[0].compute(kept_weights, overlap, dense=dense)
            after = int(bench.ask(count, "kept", otherwise=_after(left, self.options.fraction)))
            if after <= target:
                break
            masks, left = overlap, after
        if self.options.exact and after < target:
            overlap = copies[0].compute(overlapping, masks, *trained, keep=target, **options)
        return Ticket(theta_0, bench.compute(with_whole_head, overlap, classes=copies[0].classes))

    def _copies(self, bench: Workbench) -> list[Workbench]:
        """A bench for each block of classes."""
        recipe = {"epochs": self.options.epochs} if self.options.epochs else None
        of = self.options.partitions
        return [bench.on(data=DataView("class_block", block, of), recipe=recipe) for block in range(of)]

    def _dense(self, bench: Workbench, copy: Workbench) -> list[str]:
        """Layers that are not pruned: those that depend on the number of classes, and linear ones."""
        own = {layer.name: layer.shape for layer in copy.layers}
        dense = [layer.name for layer in bench.layers if layer.classifier or own[layer.name] != layer.shape]
        if not self.options.prune_linear:
            dense += [layer.name for layer in bench.layers if len(layer.shape) == 2 and layer.name not in dense]
        if len(dense) == len(bench.layers):
            raise ValueError(
                "colt prunes convolutions, and the network has none but those that its classes depend on; set "
                "`prune_linear: true`, or choose another network"
            )
        return dense

    def _refuse(self, bench: Workbench, total: int, target: int) -> None:
        if target < 0:
            raise ValueError(
                f"sparsity {bench.sparsity} keeps fewer weights than the {budget.total(bench.layers) - total} of the "
                "layers that colt leaves dense (`prune_linear`, the classifier); lower the sparsity"
            )
        rounds, left = 0, total
        while left > target:
            rounds, left = rounds + 1, _after(left, self.options.fraction)
            if rounds > MAX_ROUNDS:
                raise ValueError(
                    f"fraction: {self.options.fraction} takes more than {MAX_ROUNDS:,} rounds, each a training of "
                    "every copy; raise it"
                )


def _after(left: int, fraction: Decimal) -> int:
    """Weights that one copy keeps of so many; a round removes one at least."""
    return left - max(1, int((fraction * left).quantize(Decimal(1), ROUND_HALF_EVEN)))


def overlapping(
    bench: Workbench,
    masks: Tensors,
    *copies: Tensors,
    dense: list[str],
    scope: str,
    fraction: str | None = None,
    keep: int | None = None,
) -> Tensors:
    """Masks of the weights that all copies keep: each removes `fraction` of the smallest |w| that are left, over all
    layers together or in each (Hossain et al., algorithm 1). With `keep` instead: the same for whatever fraction
    leaves exactly so many; those whose worst rank among the copies is best. Layers of `dense` keep all."""
    pruned = [layer for layer in bench.layers if layer.name not in dense]
    groups = [pruned] if scope == "global" else [[layer] for layer in pruned]
    if keep is not None:
        counts = _shares(groups, masks, keep)
        kept: Tensors = {}
        for group, count in zip(groups, counts, strict=True):
            ranks = [_ranks(group, masks, weights) for weights in copies]
            worst = {layer.name: torch.stack([rank[layer.name] for rank in ranks]).amax(0) for layer in group}
            kept |= keep_largest({name: -rank for name, rank in worst.items()}, count)
        return {layer.name: kept.get(layer.name, masks[layer.name]) for layer in bench.layers}
    overlap = dict(masks)
    for group in groups:
        count = _after(sum(int(masks[layer.name].sum()) for layer in group) or 1, Decimal(str(fraction)))
        for weights in copies:
            scores = {x.name: torch.where(masks[x.name], weights[x.parameter].abs(), -1.0) for x in group}
            own = keep_largest(scores, count)
            overlap |= {name: overlap[name] & mask for name, mask in own.items()}
    return overlap


def _shares(groups: list[list[Layer]], masks: Tensors, keep: int) -> list[int]:
    """How many of `keep` weights each group gets, in proportion to what it has left."""
    left = [sum(int(masks[layer.name].sum()) for layer in group) for group in groups]
    return budget.share([Fraction(own * keep, sum(left)) for own in left], left, keep)


def _ranks(layers: list[Layer], masks: Tensors, weights: Tensors) -> Tensors:
    """The place of each weight that is left among all of these layers by |w|, 0 the largest, ties stably; removed ones
    come last. Float64, exact."""
    scores = torch.cat([torch.where(masks[x.name], weights[x.parameter].abs(), -1.0).flatten() for x in layers])
    ranks = torch.empty(len(scores), dtype=torch.float64, device=scores.device)
    order = scores.argsort(descending=True, stable=True)
    ranks[order] = torch.arange(len(scores), dtype=torch.float64, device=scores.device)
    parts = ranks.split([masks[x.name].numel() for x in layers])
    return {x.name: part.reshape(masks[x.name].shape) for x, part in zip(layers, parts, strict=True)}


def kept_weights(bench: Workbench, masks: Tensors, dense: list[str]) -> Tensors:
    """How many weights are left in the layers that are pruned."""
    return {"kept": torch.tensor(sum(int(mask.sum()) for name, mask in masks.items() if name not in dense))}
