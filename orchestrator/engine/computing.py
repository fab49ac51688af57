"""A function that a method has given to `bench.compute`: what it is called with, and what it may hand back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from methods.bench import Tensors, Workbench
from orchestrator.engine.masking import described
from orchestrator.engine.train import TRAINERS, weights_of


def computed(
    bench: Workbench,
    device: torch.device,
    function: Callable[..., Tensors],
    values: Iterable[Tensors],
    options: Mapping[str, Any],
) -> Tensors:
    """What a method's function returns for the values of its stages, given on `device`. Raises TypeError where that
    is no dict of tensors, ValueError where a name belongs to a trainer's state; whatever the function raises."""
    tensors = function(_Tools(bench), *(_plain(value, device) for value in values), **options)
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise TypeError(f"{function.__name__} returned {described(tensors)}; expected a dict of tensors")
    if wrong := [name for name in tensors if name.startswith(TRAINERS)]:
        raise ValueError(f"{function.__name__} gives {wrong[0]!r}: no name begins with {TRAINERS}")
    return tensors


class _Tools:
    """What a computed function gets for its bench: nothing that is not in its stage's key."""

    def __init__(self, bench: Workbench) -> None:
        self.seed, self.layers, self.residual = bench.seed, bench.layers, bench.residual
        self.classes, self.shape = bench.classes, bench.shape
        self.net, self.generator, self.macs = bench.net, bench.generator, bench.macs
        self.scoring_batch, self.images = bench.scoring_batch, bench.images

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a computed function has no bench.{name}; what it depends on is passed as an option")


def _plain(tensors: Tensors, device: torch.device) -> Tensors:
    """What a function computes with: weights without the optimiser's state, on the trial's device; copies, which
    it may write to."""
    return {name: value.to(device, copy=True) for name, value in weights_of(tensors).items()}
