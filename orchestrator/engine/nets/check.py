"""What is wrong with a network of a spec, found before anything trains."""

from __future__ import annotations

import torch
from torch import nn

from orchestrator.engine.nets.copies import with_zeros
from orchestrator.engine.nets.errors import ModelError, Problem
from orchestrator.engine.nets.registry import skeleton
from orchestrator.engine.nets.weights import weights_problems
from orchestrator.spec.models import Model


def check_model(model: Model, classes: int, shape: tuple[int, int, int]) -> list[Problem]:
    """All that is wrong with a network for images of `shape` (C, H, W): its name, its options, a forward
    pass, its weights file. Paths start at the model's section."""
    try:
        net = skeleton(model, classes, shape)
    except ModelError as error:
        return error.problems
    problems = _forward_problems(model.name, net, classes, shape)
    if model.weights:
        problems += weights_problems(net, model.weights)
    return problems


def _forward_problems(name: str, net: nn.Module, classes: int, shape: tuple[int, int, int]) -> list[Problem]:
    size = "x".join(map(str, shape))
    net = with_zeros(net)
    # two images, because batch norm cannot train on one; both modes, because some networks give more than
    # logits in training
    for mode in (True, False):
        try:
            with torch.no_grad():
                logits = net.train(mode)(torch.zeros(2, *shape))
        except Exception as error:  # whatever a user's forward raises
            reason = f"{type(error).__name__}: {error}"
            return [(("name",), f"{name!r} cannot take images of {size} (channels x height x width): {reason}")]
        if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (2, classes):
            made = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else type(logits).__name__
            return [(("name",), f"{name!r} gives {made} for 2 images; expected logits of shape (2, {classes})")]
    return []
