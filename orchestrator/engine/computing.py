"""A function that a method has given to `bench.compute`: what it is called with, and what it may hand back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from methods.bench import Tensors, Workbench
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
        raise TypeError(f"{function.__name__} returned {_described(tensors)}; expected a dict of tensors")
    if wrong := [name for name in tensors if name.startswith(TRAINERS)]:
        raise ValueError(f"{function.__name__} gives {wrong[0]!r}: no name begins with {TRAINERS}")
    return tensors


def checked_masks(masks: Tensors, shapes: Mapping[str, torch.Size]) -> Tensors:
    """A method's masks. Raises ValueError where they are not bool in these `shapes`, by layer name."""
    if unknown := [name for name in masks if name not in shapes]:
        raise ValueError(f"the masks hold {unknown[0]!r}, which is no prunable layer of the network")
    for name, shape in shapes.items():
        found = masks.get(name)
        if found is None or found.dtype != torch.bool or found.shape != shape:
            raise ValueError(
                f"the mask of layer {name!r} is {_described(found)}; expected bool of shape "
                f"{tuple(shape)}, True where the weight is kept"
            )
    return masks


class _Tools:
    """What a computed function gets for its bench: nothing that is not in its stage's key."""

    def __init__(self, bench: Workbench) -> None:
        self.seed, self.layers, self.residual = bench.seed, bench.layers, bench.residual
        self.classes, self.shape = bench.classes, bench.shape
        self.net, self.generator = bench.net, bench.generator
        self.scoring_batch, self.images = bench.scoring_batch, bench.images

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a computed function has no bench.{name}; what it depends on is passed as an option")


def _plain(tensors: Tensors, device: torch.device) -> Tensors:
    """What a function computes with: weights without the optimiser's state, on the trial's device; copies, which
    it may write to."""
    return {name: value.to(device, copy=True) for name, value in weights_of(tensors).items()}


def _described(value: Any) -> str:
    """A value as an error names it."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return "missing" if value is None else f"a value of type {type(value).__name__}"
