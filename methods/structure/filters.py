"""Filter pruning: channels and all that depends on them are removed."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

import torch
from torch import nn

from methods import budget
from methods.bench import Tensors, Workbench
from methods.structure import course
from methods.structure.coupling import Coupled, coupled, most_removed, pruned, weights_left
from methods.structure.criteria import filter_scores, ranked
from methods.structure.reach import fewest, reaches
from methods.structure.signals import gates


class FilterPrune(course.StructuralPruning):
    """Remove the filters that matter least, over all layers together; one stays in each."""

    name = "filter_prune"
    summary = "filters removed from the trained network, all that depends on them with them"
    paper = f"Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019; {course.PAPER}"
    granularity = "filter"

    def units(self, bench: Workbench) -> int:
        """All filters but one of each group."""
        if self.options.criterion == "imprinting":
            raise ValueError("criterion imprinting is one of layers; choose another for filter_prune")
        groups, normed = bench.examine(removable)
        if self.options.criterion in ("bn_scale", "ensemble"):
            bare = [name for group in groups for name, _ in group.members if name not in normed]
            if bare:
                raise ValueError(
                    f"criterion {self.options.criterion} looks at the scale of normalisation, and none follows layer "
                    f"{bare[0]!r}; choose another criterion, or name the layer in prunable.exclude"
                )
        return sum(group.size - 1 for group in groups)

    def reachable(self, bench: Workbench, target: str) -> float | None:
        """Nearly all: a filter stays in each layer."""
        return bench.examine(most_removed) if target == "sparsity" else None


class RandomFilter(FilterPrune):
    """Remove filters at random: the control of filter pruning."""

    name = "random_filter"
    summary = "filters removed at random from the trained network: the control of filter_prune"

    class Options(course.Options):
        criterion: Literal["random"] = "random"
        """Always random."""


def removable(net: nn.Module, bench: Workbench) -> tuple[list[Coupled], set[str]]:
    """What can be removed, and the layers that normalisation follows. Raises ValueError where nothing can be, or where
    removing does not leave a network that computes as many classes: not every network can be taken apart."""
    try:
        groups = coupled(net, bench.shape, bench.layers)
    except Exception as error:  # whatever torch-pruning raises
        raise _not_understood(error) from error
    if not groups:
        raise ValueError("the network has no filters that can be removed; choose another network, or prune its weights")
    normed = {layer for layer, gate in gates(net, torch.zeros(2, *bench.shape)).items() if gate != layer}
    try:
        half = pruned(net, bench.shape, {group.name: list(range(group.size // 2)) for group in groups})
        with torch.no_grad():
            shape = tuple(half(torch.zeros(2, *bench.shape)).shape)
    except Exception as error:  # whatever torch-pruning or the network's forward raises
        raise _not_understood(error) from error
    if shape != (2, bench.classes):
        wanted = (2, bench.classes)
        raise _not_understood(ValueError(f"without half of them two images give {shape}, and {wanted} is expected"))
    return groups, normed


def _not_understood(error: Exception) -> ValueError:
    why = " ".join(str(error).split())
    if not isinstance(error, ValueError):
        why = f"{type(error).__name__}: {why}"
    return ValueError(
        f"filters cannot be taken out of this network: {why}; choose a network of convolutions (VGG, ResNet, "
        "MobileNet, EfficientNet, RegNet, DenseNet, ConvNeXt and the like), or prune its weights"
    )


def coupled_scores(bench: Workbench, weights: Tensors, criterion: str, batch: int, batches: int | None) -> Tensors:
    """Group -> the score of each unit: the mean of its filters' scores, or the sum over criteria of its rank by it."""
    groups = coupled(bench.net(weights), bench.shape, bench.layers)
    by_criterion = {}
    for name, scores in filter_scores(bench, weights, criterion, batch, batches).items():
        units = [
            torch.stack([scores[layer][list(own)] for layer, own in group.members if layer in scores]).mean(0)
            for group in groups
        ]
        by_criterion[name] = torch.cat(units)
    parts = ranked(by_criterion).split([group.size for group in groups])
    return {group.name: part for group, part in zip(groups, parts, strict=True)}


def without_filters(
    bench: Workbench,
    weights: Tensors,
    scores: Tensors,
    count: int | None = None,
    target: str | None = None,
    fraction: str | None = None,
) -> Tensors:
    """The weights of the network without the `count` units of the lowest scores over all groups, or without as few of
    them as remove at least `fraction` of the `target`. The best unit of each group stays; ties: the earlier goes."""
    net = bench.net(weights)
    places = {layer.name: place for place, layer in enumerate(bench.layers)}
    order = sorted((value, places[name], i, name) for name, own in scores.items() for i, value in _but_best(own))

    def lowest(number: int) -> dict[str, list[int]]:
        remove: dict[str, list[int]] = {}
        for _, _, i, name in order[:number]:
            remove.setdefault(name, []).append(i)
        return remove

    def smaller(number: int) -> Tensors:
        return dict(pruned(net, bench.shape, lowest(number)).state_dict())

    if count is None:
        part = Decimal(str(fraction))
        if target == "sparsity":  # counted, which is quicker than taking the network apart
            groups = coupled(net, bench.shape, bench.layers)
            most = (1 - part) * budget.total(bench.layers)
            count = fewest(len(order), lambda number: weights_left(bench, weights, groups, lowest(number)) <= most)
        else:
            count = fewest(len(order), lambda number: reaches(bench, smaller(number), str(target), part))
    return smaller(count)


def _but_best(scores: torch.Tensor) -> Iterator[tuple[int, float]]:
    best = int(scores.argmax())
    return ((i, value) for i, value in enumerate(scores.tolist()) if i != best)


FilterPrune.scores, FilterPrune.without = coupled_scores, without_filters
