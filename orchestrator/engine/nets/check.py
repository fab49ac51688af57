"""What is wrong with a network of a spec, found before anything trains."""

from __future__ import annotations

import torch
from torch import nn

from orchestrator.engine.nets.copies import with_zeros
from orchestrator.engine.nets.errors import InputError, ModelError, Problem, said
from orchestrator.engine.nets.registry import skeleton
from orchestrator.engine.nets.weights import weights_problems
from orchestrator.spec.models import Model

Shape = tuple[int, int, int]

SIDES = (8, 16, 28, 32, 48, 64, 75, 96, 128, 192, 224, 256, 299, 384)
"""Sizes of square images that are tried to say what a network takes instead."""


def check_model(model: Model, classes: int, shape: Shape) -> list[Problem]:
    """All that is wrong with a network for images of `shape` (C, H, W): its name, its options, a forward
    pass, its weights file. Paths start at the model's section."""
    net, problems = None, list[Problem]()
    try:
        net = skeleton(model, classes, shape)
        _try(model.name, net, classes, shape)
    except InputError as error:
        ((path, message),) = error.problems
        problems = [(path, message + _remedy(model, classes, shape))]
    except ModelError as error:
        problems = error.problems
    return problems + (weights_problems(net, model.weights) if net is not None and model.weights else [])


def fault_on_one_image(net: nn.Module, shape: Shape) -> str:
    """Why the network cannot train on a single image, which a batch norm that sees one value a channel cannot; empty
    where it can."""
    try:
        with torch.no_grad():
            with_zeros(net).train()(torch.zeros(1, *shape))
    except Exception as error:  # whatever a user's forward raises
        return said(error)
    return ""


def _try(name: str, net: nn.Module, classes: int, shape: Shape) -> None:
    """Run two images through the network, training and not. Raises InputError if it fails, ModelError where no
    logits come out."""
    net = with_zeros(net)
    # two images, because batch norm cannot train on one; both modes, because some networks give more than
    # logits in training
    for mode in (True, False):
        try:
            with torch.no_grad():
                logits = net.train(mode)(torch.zeros(2, *shape))
        except Exception as error:  # whatever a user's forward raises
            raise InputError(name, shape, said(error)) from error
        if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (2, classes):
            made = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise ModelError(
                (("name",), f"{name!r} gives {made} for 2 images; expected logits of shape (2, {classes})")
            )


def _remedy(model: Model, classes: int, shape: Shape) -> str:
    """Which images the network takes instead, found by trying; nothing where it takes none of those tried."""
    channels, height, width = shape
    others: list[Shape] = [(count, height, width) for count in (3, 1) if count != channels]
    near = sorted(SIDES, key=lambda side: abs(side - min(height, width)))
    squares: list[Shape] = [(channels, side, side) for side in near if (side, side) != (height, width)]
    for tried in others + squares:
        try:
            _try(model.name, skeleton(model, classes, tried), classes, tried)
        except ModelError:
            continue
        size = "x".join(map(str, tried))
        which = "it takes images of" if tried in others else "the nearest square images tried that it takes are"
        return f"; {which} {size}: use such images, or another network"
    return ""
