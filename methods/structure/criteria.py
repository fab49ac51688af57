"""How much a filter matters: the criteria of Elkerdawy et al., "To Filter Prune, or to Layer Prune", ACCV 2020, and its
authors' code, for filters and layers alike."""

from __future__ import annotations

from typing import Literal

import torch

from methods.bench import Tensors, Workbench
from methods.structure.signals import gates, signals

Criterion = Literal[
    "weight_norm", "taylor_weight", "taylor_feature", "gate_taylor", "bn_scale", "imprinting", "ensemble", "random"
]
ENSEMBLE = ("taylor_weight", "weight_norm", "taylor_feature", "gate_taylor", "bn_scale")
"""The criteria whose ranks are added up."""
MEASURED = ("taylor_weight", "taylor_feature", "gate_taylor")
"""Criteria that look at data."""


def filter_scores(
    bench: Workbench, weights: Tensors, criterion: str, batch: int, batches: int | None
) -> dict[str, Tensors]:
    """Criterion -> layer -> the score of each of its filters (float64): of one criterion, or of all that the ensemble
    is made of. weight_norm: the sum of the squares of a filter's weights. bn_scale: |gamma| of the normalisation that
    takes its features. taylor_feature is divided by the layer's L2 norm. random: uniform draws."""
    wanted = ENSEMBLE if criterion == "ensemble" else (criterion,)
    found: dict[str, Tensors] = {}
    if set(wanted) & set(MEASURED):
        measured = signals(bench, weights, batch, batches)
        for name in MEASURED:
            found[name] = {layer: own[name] for layer, own in measured.items() if name in own}
        found["taylor_feature"] = {layer: own / (own.norm() + 1e-8) for layer, own in found["taylor_feature"].items()}
    present = [layer for layer in bench.layers if layer.parameter in weights]
    if "weight_norm" in wanted:
        found["weight_norm"] = {x.name: weights[x.parameter].double().square().flatten(1).sum(1) for x in present}
    if "bn_scale" in wanted:
        found["bn_scale"] = _scales(bench, weights)
    if "random" in wanted:
        found["random"] = {
            x.name: torch.rand(
                len(weights[x.parameter]), dtype=torch.float64, generator=bench.generator("random filters", x.name)
            )
            for x in present
        }
    return {name: {layer: own.cpu() for layer, own in found[name].items()} for name in wanted}


def _scales(bench: Workbench, weights: Tensors) -> Tensors:
    net = bench.net(weights)
    device = next(net.parameters()).device
    gate_of = gates(net, torch.zeros(2, *bench.shape, device=device))
    return {
        layer: weights[f"{gate}.weight"].double().abs()
        for layer, gate in gate_of.items()
        if gate != layer and f"{gate}.weight" in weights
    }


def ranked(scores: dict[str, torch.Tensor]) -> torch.Tensor:
    """One score of each unit: the only criterion's, or the sum of its ranks by each (0 the least, ties stably), so that
    the lowest is the one that most criteria find unimportant."""
    if len(scores) == 1:
        return next(iter(scores.values()))
    total = torch.zeros(len(next(iter(scores.values()))), dtype=torch.float64)
    for values in scores.values():
        total[values.argsort(stable=True)] += torch.arange(len(values), dtype=torch.float64)
    return total
