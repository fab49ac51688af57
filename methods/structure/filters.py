"""Filter pruning: channels and all that depends on them are removed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import nn

from methods import budget
from methods.bench import Tensors, Workbench
from methods.layers import Layer
from methods.ratio_file import RatioFile
from methods.structure import course
from methods.structure.coupling import Coupled, coupled, most_removed, pruned, weights_left
from methods.structure.criteria import filter_scores, ranked
from methods.structure.order import removal_order
from methods.structure.reach import fewest, reaches
from methods.structure.signals import gates


class FilterPrune(course.StructuralPruning):
    """Remove the filters that matter least, over all layers together or under a channel ratio; one stays in each."""

    name = "filter_prune"
    summary = "filters removed from the trained network, all that depends on them with them"
    paper = f"Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019; {course.PAPER}"
    granularity = "filter"
    formulas: ClassVar = {"uniform": {"ratio": "uniform"}, "magnitude": {}}

    class Options(course.Options):
        ratio: Literal["uniform"] | None = None
        """uniform: every group of filters keeps the same share, its best by the criterion (default: all filters are
        ranked together)."""
        ratios: RatioFile | None = None
        """The keep ratio of the filters of every group instead, by the name of its first layer, or a JSON file of them;
        scaled until the target is reached. One filter stays in each group whatever its ratio."""

        @model_validator(mode="after")
        def _one_ratio(self) -> FilterPrune.Options:
            if self.ratio is not None and self.ratios is not None:
                raise ValueError("ratio and ratios are two ways to say how much each group keeps; choose one")
            return self

    def searched(self, bench: Workbench) -> tuple[Layer, ...]:
        """The groups of filters."""
        groups, _ = bench.examine(removable)
        return tuple(Layer(group.name, (group.size,)) for group in groups)

    def ordering(self, bench: Workbench) -> dict[str, Any]:
        """The channel ratio, where there is one. Raises ValueError where its names are not the groups'."""
        given = self.options.ratios
        if given is None and self.options.ratio is None:
            return {}
        names = [layer.name for layer in self.searched(bench)]
        if given is None:
            return {"ratios": dict.fromkeys(names, "1")}
        if wrong := [name for name in given if name not in names] or [name for name in names if name not in given]:
            fault = "is no group of filters" if wrong[0] in given else "is missing"
            raise ValueError(
                f"ratios: {wrong[0]!r} {fault}; expected a keep ratio for each of {', '.join(names)} (filters that can "
                "only be removed together are one group, under the name of its first layer)"
            )
        return {"ratios": {name: str(given[name]) for name in names}}

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
        self.ordering(bench)  # refuses wrong names before any training
        return sum(group.size - 1 for group in groups)

    def reachable(self, bench: Workbench, target: str) -> float | None:
        """Nearly all: a filter stays in each layer."""
        return bench.examine(most_removed) if target == "sparsity" else None


class RandomFilter(FilterPrune):
    """Remove filters at random: the control of filter pruning."""

    name = "random_filter"
    summary = "filters removed at random from the trained network: the control of filter_prune"
    formulas: ClassVar = {}

    class Options(course.Options):
        criterion: Literal["random"] = "random"
        """Always random."""

    def ordering(self, bench: Workbench) -> dict[str, Any]:
        """It takes no channel ratio."""
        return {}


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
    ratios: dict[str, str] | None = None,
) -> Tensors:
    """The weights of the network without the first `count` units of `removal_order`, or without as few of them as
    remove at least `fraction` of the `target`."""
    net = bench.net(weights)
    order = removal_order(bench.layers, scores, ratios)

    def lowest(number: int) -> dict[str, list[int]]:
        remove: dict[str, list[int]] = {}
        for name, i in order[:number]:
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


FilterPrune.scores, FilterPrune.without = coupled_scores, without_filters
