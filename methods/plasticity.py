"""Pruning plasticity: how much accuracy a network wins back when it is pruned in the middle of its training."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from methods import magnitude
from methods.bench import Tensors, Ticket, Workbench
from methods.masks import keep_largest, keep_largest_per_layer
from methods.method import Method
from methods.rewiring import regrown, survivors
from methods.snip import BatchOptions
from methods.step import Step


class Plasticity(Method):
    """Train until a step, prune at once, train on at that step's learning rate: the accuracy after it minus the one
    just before pruning is the plasticity."""

    name = "plasticity"
    ticket = "partially-trained"
    summary = "pruned once in the middle of training: accuracy just before, and after some more epochs"
    prunes = "during training"
    paper = "Liu et al., Sparse Training via Boosting Pruning Plasticity with Neuroregeneration, NeurIPS 2021"
    uses_data = True
    cost = "a training until `at`, and `epochs` more"

    class Options(BatchOptions):
        at: Step = Step(Decimal(1), "ep")
        """Step of the dense training at which the network is pruned."""
        epochs: int = Field(30, ge=1)
        """Epochs k that it trains on for."""
        criterion: Literal["magnitude", "gradient", "random"] = "magnitude"
        """What is removed first: the smallest |w|, the smallest |w dL/dw| on a scoring batch, or weights at random."""
        scope: Literal["global", "layerwise"] = "global"
        """Rank the weights of all layers together, or remove the same fraction of each."""
        regenerate: Literal["none", "gradient", "random"] = "none"
        """After pruning, exchange weights of each layer: the smallest |w| for those with the largest gradient on a
        scoring batch, which start from zero, or for random ones."""
        drop_fraction: float = Field(0.5, gt=0, le=1)
        """Fraction of each layer's remaining weights that regeneration exchanges."""

    def find(self, bench: Workbench) -> Ticket:
        """The network at the step, pruned; trained on under a constant learning rate."""
        options = self.options
        if options.criterion == "gradient" or options.regenerate == "gradient":
            options.refuse(bench)
        end = Step(Decimal(bench.recipe["epochs"]), "ep")
        if not 0 < bench.iterations(options.at) <= bench.iterations(end):
            raise ValueError(f"at: {options.at} is not within the training of {end}; choose a step after its first")
        before = bench.train(bench.initialise(), until=options.at)
        keep, _ = magnitude.counts(magnitude.Options(scope=options.scope), bench.layers, bench.sparsity, _whole(bench))
        scoring = {"per_class": options.per_class, "batches": options.batches}
        masks = bench.compute(plastic_masks, before, keep=keep, criterion=options.criterion, **scoring)
        weights = before.at(0)
        if options.regenerate != "none":
            how = {"growth": options.regenerate, "drop_fraction": options.drop_fraction, **scoring}
            fresh = bench.compute(regenerated, before, masks, **how)
            weights = bench.compute(pruned_weights, before, masks)
            masks = fresh
        recipe = {
            "epochs": options.epochs,
            "lr": bench.learning_rate(options.at),
            "schedule": {"name": "constant"},
        }
        trained = bench.on(recipe=recipe).train(weights, masks)
        return Ticket(weights, masks, trained=trained, before=before)


def _whole(bench: Workbench) -> dict[str, int]:
    return {layer.name: layer.weights for layer in bench.layers}


def plastic_masks(
    bench: Workbench, weights: Tensors, keep: int | dict[str, int], criterion: str, per_class: int, batches: int
) -> Tensors:
    """Masks of exactly `keep` weights over all layers, or keep[name] of each, by the criterion."""
    if criterion == "magnitude":
        scores = {layer.name: weights[layer.parameter].abs() for layer in bench.layers}
    elif criterion == "gradient":
        gradients = _gradients(bench, weights, per_class, batches)
        scores = {layer.name: (weights[layer.parameter] * gradients[layer.name]).abs() for layer in bench.layers}
    else:
        scores = _draws(bench, "plasticity")
    return keep_largest(scores, keep) if isinstance(keep, int) else keep_largest_per_layer(scores, keep)


def regenerated(
    bench: Workbench, weights: Tensors, masks: Tensors, growth: str, drop_fraction: float, per_class: int, batches: int
) -> Tensors:
    """The masks after each layer has exchanged a fraction of its weights, rounded up: as many as before."""
    own = {layer.name: weights[layer.parameter] for layer in bench.layers}
    left = survivors(own, masks, drop_fraction, math.ceil)
    if growth == "gradient":
        gradients = _gradients(bench, pruned_weights(bench, weights, masks), per_class, batches)
        scores = {name: value.abs() for name, value in gradients.items()}
    else:
        scores = _draws(bench, "growth")
    return regrown(masks, left, scores)


def pruned_weights(bench: Workbench, weights: Tensors, masks: Tensors) -> Tensors:
    """The weights, what is removed at zero: from there it comes back."""
    return weights | {layer.parameter: weights[layer.parameter] * masks[layer.name] for layer in bench.layers}


def _gradients(bench: Workbench, weights: Tensors, per_class: int, batches: int) -> Tensors:
    """Of the mean cross-entropy of the scoring batches, by layer name, in training mode."""
    net = bench.net(weights)
    parameters = dict(net.named_parameters())
    scored = [parameters[layer.parameter] for layer in bench.layers]
    summed = [torch.zeros_like(weight) for weight in scored]
    for part in range(batches):
        images, labels = bench.scoring_batch(per_class, part)
        loss = F.cross_entropy(net(images), labels)
        for total, own in zip(summed, torch.autograd.grad(loss, scored, materialize_grads=True), strict=True):
            total += own
    return {layer.name: total for layer, total in zip(bench.layers, summed, strict=True)}


def _draws(bench: Workbench, purpose: str) -> Tensors:
    return {
        layer.name: torch.rand(layer.shape, dtype=torch.float64, generator=bench.generator(purpose, layer.name))
        for layer in bench.layers
    }
