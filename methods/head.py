"""The part of a network that depends on its classes: what a copy for other classes has for its own."""

from __future__ import annotations

import torch

from methods.bench import Tensors, Workbench


def with_own_head(bench: Workbench, own: Tensors, shared: Tensors, classes: int) -> Tensors:
    """The weights `shared`, of a network of `classes` outputs, but the bench's `own` of the classifier and of whatever
    else has an output for each class; of a network that has become smaller, those of its inputs that are left."""
    classifier = tuple(f"{layer.name}." for layer in bench.layers if layer.classifier)
    made = {}
    for name, value in shared.items():
        head = name.startswith(classifier) or _by_class(value.shape, own[name].shape, classes, bench.classes)
        made[name] = own[name] if head else value
        if head and value.dim() > 1:
            made[name] = own[name][:, : value.shape[1]].clone()
    return made


def with_whole_head(bench: Workbench, masks: Tensors, classes: int) -> Tensors:
    """The masks of a network of `classes` outputs on one of the bench's classes: what has an output for each is
    dense."""
    made = {}
    for layer in bench.layers:
        if (mask := masks.get(layer.name)) is not None:
            head = _by_class(mask.shape, layer.shape, classes, bench.classes)
            shape = (layer.shape[0], *mask.shape[1:])
            made[layer.name] = torch.ones(shape, dtype=torch.bool, device=mask.device) if head else mask
    return made


def _by_class(one: tuple[int, ...], other: tuple[int, ...], classes: int, others: int) -> bool:
    """Whether tensors of these shapes differ as the numbers of classes do."""
    return classes != others and one[:1] == (classes,) and other[:1] == (others,)
