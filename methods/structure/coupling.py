"""Filters that can only be removed together, and their removal by torch-pruning's dependency graph."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from methods import budget
from methods.bench import Tensors, Workbench
from methods.layers import PRUNABLE, Layer, prunable_layers
from methods.structure.signals import gates


@dataclass(frozen=True)
class Coupled:
    """Filters that can only be removed together: number i of each of these layers, as where they are added up."""

    name: str
    """The first of the layers, in module order."""
    size: int
    members: tuple[tuple[str, tuple[int, ...]], ...]
    """Layer -> which of its filters goes with each unit."""
    takers: tuple[tuple[str, int], ...] = ()
    """Layer that takes their features -> how many of its inputs go with each unit."""


def coupled(net: nn.Module, shape: tuple[int, int, int], layers: Sequence[Layer]) -> list[Coupled]:
    """The groups of filters that can be removed, in module order of their first layers: not those that the classes are
    read from, nor those of layers that are not prunable, or of grouped convolutions that are not depthwise. Raises
    ValueError where two layers share a weight, or the network computes attention."""
    if _attends(net, shape):  # which torch-pruning follows through every head and window, for hours
        raise ValueError("it computes attention, whose heads cannot lose features one by one")
    names = {module: name for name, module in net.named_modules()}
    known = {layer.name for layer in layers} - _fixed(net, shape)
    order = list(names.values())
    graph = _graph(net, shape)
    found = []
    for group in graph.get_all_groups():
        members: dict[str, tuple[int, ...]] = {}
        takers: dict[str, int] = {}
        size = len(group[0][1])
        for dependency, places in group:
            module = dependency.target.module
            if isinstance(module, PRUNABLE) and graph.is_out_channel_pruning_fn(dependency.handler):
                members[names[module]] = tuple(places)
            elif isinstance(module, PRUNABLE):
                takers[names[module]] = len(places) // size
        whole = set(members) <= known and not any(_is_grouped(net.get_submodule(name)) for name in takers)
        if members and whole and all(len(own) == size for own in members.values()):
            first = min(members, key=order.index)
            # counted by the first layer's own filters, whatever the graph began with
            at = {place: i for i, place in enumerate(members[first])}
            turned = {name: tuple(own[at[i]] for i in range(size)) for name, own in members.items()}
            ordered = tuple(sorted(turned.items(), key=lambda item: order.index(item[0])))
            found.append(Coupled(first, size, ordered, tuple(takers.items())))
    return sorted(found, key=lambda group: order.index(group.name))


def _attends(net: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether the network multiplies features by features, matrix by matrix."""
    image = torch.zeros(1, *shape, device=next(net.parameters()).device)
    left, seen = [net.eval().requires_grad_(True)(image).grad_fn], set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if node.name().startswith(("Bmm", "ScaledDotProduct")):
            return True
        seen.add(node)
        left += [before for before, _ in node.next_functions]
    return False


def _graph(net: nn.Module, shape: tuple[int, int, int]) -> Any:
    """torch-pruning's graph of what depends on each layer's filters."""
    import torch_pruning

    image = torch.zeros(1, *shape, device=next(net.parameters()).device)
    net.eval().requires_grad_(True)
    with warnings.catch_warnings():
        # of a network that it does not understand it warns once, and then takes all the memory there is
        warnings.filterwarnings("error", message="Maximum recursive depth")
        return torch_pruning.DependencyGraph().build_dependency(net, image, verbose=False)


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
            if _is_grouped(module):
                fixed.add(name)
    return fixed


def _is_grouped(module: Any) -> bool:
    """Whether its filters see some of the inputs each, and more than one."""
    return 1 < getattr(module, "groups", 1) < module.weight.shape[0]


def pruned(net: nn.Module, shape: tuple[int, int, int], remove: Mapping[str, Sequence[int]]) -> nn.Module:
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


def weights_left(
    bench: Workbench, weights: Tensors, groups: Sequence[Coupled], remove: Mapping[str, Sequence[int]]
) -> int:
    """How many prunable weights are left of a network in the shapes of these without these units of each group."""
    filters, inputs = ({layer.name: 0 for layer in bench.layers} for _ in range(2))
    for group in groups:
        gone = len(remove.get(group.name, ()))
        filters |= {name: filters[name] + gone for name, _ in group.members}
        inputs |= {name: inputs[name] + gone * each for name, each in group.takers if name in inputs}
    left = 0
    for layer in bench.layers:
        if layer.parameter in weights:
            own = weights[layer.parameter]
            left += (
                (own.shape[0] - filters[layer.name])
                * (own[0].numel() // own.shape[1])
                * (own.shape[1] - inputs[layer.name])
            )
    return left


def most_removed(net: nn.Module, bench: Workbench) -> float:
    """The largest fraction of the prunable weights that can be removed: one filter is left in each group."""
    groups = coupled(net, bench.shape, bench.layers)
    least = {group.name: range(group.size - 1) for group in groups}
    return 1 - weights_left(bench, dict(net.state_dict()), groups, least) / budget.total(bench.layers)
