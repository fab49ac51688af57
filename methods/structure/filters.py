"""Filter pruning: channels and all that depends on them are removed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import torch
from torch import nn

from methods import budget
from methods.bench import Tensors, Workbench
from methods.layers import PRUNABLE, Layer, prunable_layers
from methods.structure import course
from methods.structure.criteria import filter_scores, ranked
from methods.structure.reach import fewest, reaches
from methods.structure.signals import gates


@dataclass(frozen=True)
class Coupled:
    """Filters that can only be removed together: number i of each of these layers, as where they are added up."""

    name: str
    """The first of the layers, in module order."""
    size: int
    members: tuple[tuple[str, tuple[int, ...]], ...]
    """Layer -> which of its filters goes with each unit."""


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
        coupled, normed = bench.examine(removable)
        if self.options.criterion in ("bn_scale", "ensemble"):
            bare = [name for group in coupled for name, _ in group.members if name not in normed]
            if bare:
                raise ValueError(
                    f"criterion {self.options.criterion} looks at the scale of normalisation, and none follows layer "
                    f"{bare[0]!r}; choose another criterion, or name the layer in prunable.exclude"
                )
        return sum(group.size - 1 for group in coupled)

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
        raise _not_understood(f"{type(error).__name__}: {error}") from error
    if not groups:
        raise ValueError("the network has no filters that can be removed; choose another network, or prune its weights")
    normed = {layer for layer, gate in gates(net, torch.zeros(2, *bench.shape)).items() if gate != layer}
    try:
        half = pruned(net, bench.shape, bench.layers, {group.name: list(range(group.size // 2)) for group in groups})
        with torch.no_grad():
            shape = tuple(half(torch.zeros(2, *bench.shape)).shape)
    except Exception as error:  # whatever torch-pruning or the network's forward raises
        raise _not_understood(f"{type(error).__name__}: {error}") from error
    if shape != (2, bench.classes):
        raise _not_understood(f"without half of its filters it computes {shape[1:]}, not {bench.classes} classes")
    return groups, normed


def _not_understood(why: str) -> ValueError:
    why = " ".join(why.split())
    return ValueError(
        f"torch-pruning cannot take filters out of this network ({why}); choose another network, or prune its weights"
    )


def coupled(net: nn.Module, shape: tuple[int, int, int], layers: Sequence[Layer]) -> list[Coupled]:
    """The groups of filters that can be removed, in module order of their first layers: not those that the classes are
    read from, nor those of layers that are not prunable, or of grouped convolutions that are not depthwise. Raises
    ValueError where two layers share a weight."""
    names = {module: name for name, module in net.named_modules()}
    known = {layer.name for layer in layers} - _fixed(net, shape)
    order = list(names.values())
    graph = _graph(net, shape)
    found = []
    for group in graph.get_all_groups():
        members: dict[str, tuple[int, ...]] = {}
        for dependency, places in group:
            module = dependency.target.module
            if isinstance(module, PRUNABLE) and graph.is_out_channel_pruning_fn(dependency.handler):
                members[names[module]] = tuple(places)
        size = len(group[0][1])
        if members and set(members) <= known and all(len(own) == size for own in members.values()):
            first = min(members, key=order.index)
            # counted by the first layer's own filters, whatever the graph began with
            at = {place: i for i, place in enumerate(members[first])}
            turned = {name: tuple(own[at[i]] for i in range(size)) for name, own in members.items()}
            found.append(Coupled(first, size, tuple(sorted(turned.items(), key=lambda item: order.index(item[0])))))
    return sorted(found, key=lambda group: order.index(group.name))


def _graph(net: nn.Module, shape: tuple[int, int, int]) -> Any:
    """torch-pruning's graph of what depends on each layer's filters."""
    import torch_pruning

    device = next(net.parameters()).device
    net.eval().requires_grad_(True)
    return torch_pruning.DependencyGraph().build_dependency(net, torch.zeros(1, *shape, device=device), verbose=False)


def _fixed(net: nn.Module, shape: tuple[int, int, int]) -> set[str]:
    """Layers whose filters stay: the classifier, the last layer that runs, grouped convolutions that are not
    depthwise."""
    ran = list(gates(net, torch.zeros(1, *shape, device=next(net.parameters()).device)))
    weights: dict[int, str] = {}
    fixed = {ran[-1]} | {layer.name for layer in prunable_layers(net) if layer.classifier}
    for name, module in net.named_modules():
        if isinstance(module, PRUNABLE):
            if weights.setdefault(id(module.weight), name) != name:
                raise ValueError(f"layers {weights[id(module.weight)]!r} and {name!r} share a weight")
            if 1 < getattr(module, "groups", 1) < module.weight.shape[0]:
                fixed.add(name)
    return fixed


def pruned(
    net: nn.Module, shape: tuple[int, int, int], layers: Sequence[Layer], remove: Mapping[str, Sequence[int]]
) -> nn.Module:
    """A copy of the network without these units of these groups, by name."""
    import torch_pruning

    made = copy.deepcopy(net)
    graph = _graph(made, shape)
    modules = dict(made.named_modules())
    for name, units in remove.items():
        if units:
            module = modules[name]
            function = (
                torch_pruning.prune_linear_out_channels
                if isinstance(module, nn.Linear)
                else torch_pruning.prune_depthwise_conv_out_channels
                if getattr(module, "groups", 1) > 1
                else torch_pruning.prune_conv_out_channels
            )
            graph.get_pruning_group(module, function, sorted(units)).prune()
    return made


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
    units = [(value, place, i, name) for place, (name, own) in enumerate(scores.items()) for i, value in _but_best(own)]
    order = sorted(units)

    def smaller(number: int) -> Tensors:
        remove: dict[str, list[int]] = {}
        for _, _, i, name in order[:number]:
            remove.setdefault(name, []).append(i)
        return dict(pruned(net, bench.shape, bench.layers, remove).state_dict())

    if count is None:
        wanted, part = str(target), Decimal(str(fraction))
        count = fewest(len(order), lambda number: reaches(bench, smaller(number), wanted, part))
    return smaller(count)


def _but_best(scores: torch.Tensor) -> Iterator[tuple[int, float]]:
    best = int(scores.argmax())
    return ((i, value) for i, value in enumerate(scores.tolist()) if i != best)


def most_removed(net: nn.Module, bench: Workbench) -> float:
    """The largest fraction of the prunable weights that can be removed: one filter is left in each group."""
    groups = coupled(net, bench.shape, bench.layers)
    least = pruned(net, bench.shape, bench.layers, {group.name: list(range(group.size - 1)) for group in groups})
    left = sum(least.state_dict()[layer.parameter].numel() for layer in bench.layers)
    return 1 - left / budget.total(bench.layers)


FilterPrune.scores, FilterPrune.without = coupled_scores, without_filters
