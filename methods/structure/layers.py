"""Layer pruning: whole blocks become the identity."""

from __future__ import annotations

import copy
import math
from decimal import Decimal
from typing import Literal

import torch
from torch import nn

from methods import budget
from methods.bench import Tensors, Workbench
from methods.structure import course
from methods.structure.blocks import Block, blocks, is_path
from methods.structure.criteria import filter_scores, ranked
from methods.structure.imprinting import gains
from methods.structure.reach import fewest, reaches
from methods.structure.signals import gates


class LayerPrune(course.StructuralPruning):
    """Remove the blocks of a network with shortcuts, or the layers of one without, that matter least."""

    name = "layer_prune"
    summary = "blocks or layers of the trained network replaced by the identity"
    paper = course.PAPER
    granularity = "layer"

    def units(self, bench: Workbench) -> int:
        """All blocks that can be removed."""
        if bench.residual is None:
            raise ValueError(
                f"{self.name} has to know whether the network has residual connections, and this one does not say; "
                "give it an attribute `residual`, True or False"
            )
        found, normed = bench.examine(removable)
        if not found:
            raise ValueError(
                f"{self.name} finds no block that could be removed: none leaves the shape of its features; choose "
                "another network, or prune its filters"
            )
        if self.options.criterion in ("bn_scale", "ensemble"):
            bare = [layer for block in found for layer in block.scored if layer not in normed]
            if bare:
                raise ValueError(
                    f"criterion {self.options.criterion} looks at the scale of normalisation, and none follows layer "
                    f"{bare[0]!r}; choose another criterion"
                )
        return len(found)

    def reachable(self, bench: Workbench, target: str) -> float | None:
        """All blocks together."""
        return bench.examine(most_weights if target == "sparsity" else most_macs)


class RandomLayer(LayerPrune):
    """Remove blocks at random: the control of layer pruning."""

    name = "random_layer"
    summary = "blocks or layers removed at random from the trained network: the control of layer_prune"

    class Options(course.Options):
        criterion: Literal["random"] = "random"
        """Always random."""


def removable(net: nn.Module, bench: Workbench) -> tuple[list[Block], set[str]]:
    """What can be removed, and the layers that normalisation follows. Raises ValueError where the network says that it
    has no residual connections and yet is no single path, or does not compute its classes without its blocks."""
    if bench.residual is False and not is_path(net, bench.shape):
        raise ValueError(
            "the network has no residual connections and is no single path either: there is nothing that the identity "
            "could stand for; choose another network, or prune its filters"
        )
    found = blocks(net, bench.shape, bench.layers, bench.residual)
    if bench.residual:
        bare = copy.deepcopy(net)
        for block in found:
            bare.set_submodule(block.name, nn.Identity())
        with torch.no_grad():
            bare(torch.zeros(2, *bench.shape))
    return found, {layer for layer, gate in gates(net, torch.zeros(2, *bench.shape)).items() if gate != layer}


def most_weights(net: nn.Module, bench: Workbench) -> float:
    """Fraction of the prunable weights that goes with all blocks."""
    left = _without_all(net, bench)
    kept = sum(left[layer.parameter].numel() for layer in bench.layers if layer.parameter in left)
    return 1 - kept / budget.total(bench.layers)


def most_macs(net: nn.Module, bench: Workbench) -> float:
    """Fraction of the multiply-accumulates that goes with all blocks."""
    return 1 - bench.macs(_without_all(net, bench)) / bench.macs(None)


def _without_all(net: nn.Module, bench: Workbench) -> Tensors:
    found = blocks(net, bench.shape, bench.layers, bench.residual)
    return without(bench, dict(net.state_dict()), found, fresh=False)


def block_scores(bench: Workbench, weights: Tensors, criterion: str, batch: int, batches: int | None) -> Tensors:
    """Block -> its score: the mean of its layers' filters' scores, or the sum over criteria of its rank by it; for
    imprinting what it adds to the accuracy of imprinted classes."""
    found = blocks(bench.net(weights), bench.shape, bench.layers, bench.residual)
    if criterion == "imprinting":
        ends = [(block.modules[0], block.modules[-1]) for block in found]
        gained = gains(bench, weights, ends, batch, batches)
        return {name: torch.tensor(gain, dtype=torch.float64) for name, gain in gained.items()}
    by_criterion = {}
    for name, scores in filter_scores(bench, weights, criterion, batch, batches).items():
        means = [torch.cat([scores[layer] for layer in block.scored]).mean() for block in found]
        by_criterion[name] = torch.stack(means) if means else torch.empty(0)
    return {block.name: value for block, value in zip(found, ranked(by_criterion), strict=True)}


def without_blocks(
    bench: Workbench,
    weights: Tensors,
    scores: Tensors,
    count: int | None = None,
    target: str | None = None,
    fraction: str | None = None,
) -> Tensors:
    """The weights of the network without the `count` blocks of the lowest scores, or without as few of them as remove
    at least `fraction` of the `target`. Ties: the earlier goes."""
    found = {block.name: block for block in blocks(bench.net(weights), bench.shape, bench.layers, bench.residual)}
    order = sorted(found, key=lambda name: float(scores[name]))

    def smaller(number: int, fresh: bool) -> Tensors:
        gone = set(order[:number])
        return without(bench, weights, [block for name, block in found.items() if name in gone], fresh)

    if count is None:
        wanted, part = str(target), Decimal(str(fraction))
        count = fewest(len(order), lambda number: reaches(bench, smaller(number, False), wanted, part))
    return smaller(count, True)


def without(bench: Workbench, weights: Tensors, removed: list[Block], fresh: bool) -> Tensors:
    """The weights without these blocks. A layer of a single path that takes the features of a removed one is fitted:
    where their number becomes another, its weights are drawn anew (`fresh`; else zeros), normal with variance
    2 / fan-in."""
    gone = tuple(f"{module}." for block in removed for module in block.modules)
    left = {name: value for name, value in weights.items() if not name.startswith(gone)}
    names = {block.name: block for block in removed}
    for block in removed:
        if block.after is None or block.after in names:
            continue  # the last of a row of removed layers says what the next one takes
        first = block
        while first.before in names:
            first = names[first.before]
        takes, gives = weights[f"{block.name}.weight"].shape[0], weights[f"{first.name}.weight"].shape[1]
        weight = left[f"{block.after}.weight"]
        if takes != gives:
            inputs = weight.shape[1] * gives // takes
            shape = (weight.shape[0], inputs, *weight.shape[2:])
            made = torch.zeros(shape, dtype=weight.dtype)
            if fresh:
                deviation = math.sqrt(2 / math.prod(shape[1:]))
                made.normal_(0, deviation, generator=bench.generator("fitted layer", block.after))
            left[f"{block.after}.weight"] = made.to(weight.device)
    return left


LayerPrune.scores, LayerPrune.without = block_scores, without_blocks
