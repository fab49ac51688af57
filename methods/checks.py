"""Sanity checks: one thing that a method may have used is destroyed, and the ticket trained as ever. A ticket that does
not suffer from it did not use it.

Sources: random_labels, random_pixels, half_data, rearrange, shuffle_weights: Su et al., "Sanity-Checking Pruning
Methods", NeurIPS 2020, and its authors' code; reinitialise: Frankle & Carbin, ICLR 2019; same_ratio_random,
same_ratio_magnitude: the controls of Blalock et al., MLSys 2020, with the layer-wise ratio of the ticket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

import torch

from methods.bench import DataView, Tensors, Ticket, Workbench
from methods.masks import keep_largest_per_layer
from methods.method import Method
from methods.step import Step

DATA = {
    "random_labels": (DataView("random_labels"), "the ticket is found on labels drawn at random"),
    "random_pixels": (DataView("noise"), "the ticket is found on random labels and images of permuted pixels"),
    "half_data": (DataView("half"), "the ticket is found on half of the training images"),
}
"""Checks of what finds the ticket: the training data it sees. Retraining is on the clean data."""


@dataclass(frozen=True)
class Check:
    """A sanity check of the ticket itself: what it destroys, and how."""

    summary: str
    apply: Callable[[Workbench, Ticket], Ticket]
    needs_masks: bool = True
    """False: it can be done to a ticket that is a smaller network."""


def names() -> list[str]:
    """All sanity checks."""
    return [*DATA, *TICKET]


def summary(name: str) -> str:
    """What a check destroys, in a sentence."""
    return DATA[name][1] if name in DATA else TICKET[name].summary


def find_checked(bench: Workbench, method: Method, check: str | None) -> Ticket:
    """The method's ticket after a sanity check, to be trained on the sweep's data under its recipe whatever the
    method does by itself; without a check what the method finds. Raises ValueError where a check does not go with the
    method or the data."""
    if check is None:
        return method.find(bench)
    if method.ticket == "dense":
        raise ValueError(f"check {check}: {method.name} finds no ticket that could be checked; check another method")
    if check in DATA:
        if not method.uses_data:
            raise ValueError(f"check {check}: {method.name} looks at no data to find its ticket; leave the check out")
        spoilt = bench.on(data=DATA[check][0])
        ticket = method.find(spoilt)
        # steps are counted in iterations, and an epoch of half of the data has half of them
        scale = Fraction(bench.iterations(_EPOCH), spoilt.iterations(_EPOCH))
        return Ticket(ticket.weights.at(round(ticket.weights.step * scale)), ticket.masks)
    ticket = replace(method.find(bench), trained=None)
    if TICKET[check].needs_masks and ticket.masks == bench.dense_masks():
        raise ValueError(
            f"check {check}: the ticket of {method.name} is a smaller network without masks; the control of filters "
            "and layers is the same method with `criterion: random`"
        )
    return TICKET[check].apply(bench, ticket)


_EPOCH = Step(Decimal(1), "ep")


def _rearrange(bench: Workbench, ticket: Ticket) -> Ticket:
    return Ticket(ticket.weights, bench.compute(rearranged, ticket.masks))


def _shuffle_weights(bench: Workbench, ticket: Ticket) -> Ticket:
    shuffled = bench.compute(shuffled_weights, ticket.weights, ticket.masks)
    return Ticket(shuffled.at(ticket.weights.step), ticket.masks)


def _reinitialise(bench: Workbench, ticket: Ticket) -> Ticket:
    """From the schedule's beginning: weights of no training have no place further on."""
    fresh = bench.initialise(draw=1)
    return Ticket(bench.compute(in_shapes_of, fresh, ticket.weights), ticket.masks)


def _same_ratio_random(bench: Workbench, ticket: Ticket) -> Ticket:
    """A random ticket: weights at initialisation, whatever the method's start from."""
    return Ticket(bench.initialise(), bench.compute(rearranged, ticket.masks))


def _same_ratio_magnitude(bench: Workbench, ticket: Ticket) -> Ticket:
    return Ticket(ticket.weights, bench.compute(largest_of_each_layer, ticket.weights, ticket.masks))


TICKET: dict[str, Check] = {
    "rearrange": Check("the mask of each layer is permuted at random", _rearrange),
    "shuffle_weights": Check("the kept weights of each layer are permuted at random", _shuffle_weights),
    "reinitialise": Check("the ticket is trained from other initial weights", _reinitialise, needs_masks=False),
    "same_ratio_random": Check("a random ticket with as many weights in each layer", _same_ratio_random),
    "same_ratio_magnitude": Check(
        "the largest of the weights that the ticket starts from, as many in each layer", _same_ratio_magnitude
    ),
}


def rearranged(bench: Workbench, masks: Tensors) -> Tensors:
    """Each layer's mask in a random order: as many weights, all positions equally likely."""
    return {name: _permuted(mask, bench.generator("rearrange", name)) for name, mask in masks.items()}


def shuffled_weights(bench: Workbench, weights: Tensors, masks: Tensors) -> Tensors:
    """The kept weights of each layer in a random order among their positions; all other values as they were."""
    shuffled = dict(weights)
    for layer in bench.layers:
        if layer.name in masks:
            value = weights[layer.parameter].clone(memory_format=torch.contiguous_format)
            kept = value[masks[layer.name]]
            value[masks[layer.name]] = _permuted(kept, bench.generator("shuffle weights", layer.name))
            shuffled[layer.parameter] = value
    return shuffled


def in_shapes_of(bench: Workbench, fresh: Tensors, weights: Tensors) -> Tensors:
    """Fresh initial weights in the shapes of these: of a smaller network the leading channels of each."""
    return {name: fresh[name][tuple(map(slice, value.shape))].clone() for name, value in weights.items()}


def largest_of_each_layer(bench: Workbench, weights: Tensors, masks: Tensors) -> Tensors:
    """Masks of the largest |w| that keep as many in each layer as these masks."""
    scores = {layer.name: weights[layer.parameter].abs() for layer in bench.layers if layer.name in masks}
    return keep_largest_per_layer(scores, {name: int(masks[name].sum()) for name in scores})


def _permuted(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    order = torch.randperm(values.numel(), generator=generator).to(values.device)
    return values.flatten()[order].reshape(values.shape)
