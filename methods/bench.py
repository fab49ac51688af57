"""What a method works with: a bench that remembers every costly step it was ever asked for.

A method is written as its paper's algorithm over a `Workbench`. Each step it asks for (initialise, train,
compute) is a *stage*: a pure function of its inputs, named by the hash of those inputs. The bench hands back a
`Stage`, a name for the result, not the result; where the stage exists already nothing is computed. A planning
bench computes nothing at all, so a method never looks at tensors outside a function given to `compute`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import torch
from torch import nn

from methods.layers import Layer
from methods.step import Step

Tensors = dict[str, torch.Tensor]
"""Weights: the network's state_dict. Masks: layer name -> bool tensor of the weight's shape, True is kept."""


@dataclass(frozen=True)
class Stage:
    """The name of a stage's result. `step` is where in the training schedule its weights stand (iterations)."""

    key: str
    step: int = 0

    def __getitem__(self, name: str) -> Any:
        raise TypeError("a Stage names a result and holds none; look at tensors in a function given to `bench.compute`")


@dataclass(frozen=True)
class Ticket:
    """What a method finds: the weights to train from and the masks that say which of them exist.
    The engine trains it under the sweep's recipe, from the weights' step to the schedule's end."""

    weights: Stage
    masks: Stage


class Workbench(Protocol):
    """One trial's tools. Everything it hands out depends on the trial's seed alone, never on the clock or on
    what other trials do."""

    seed: int
    sparsity: Decimal
    """Fraction of the prunable weights to remove."""
    layers: tuple[Layer, ...]
    """Prunable layers in module order."""
    residual: bool | None
    """Whether the network has residual connections; None where a user's network does not say."""
    classes: int
    smallest_class: int
    """Training images of the class that has the fewest."""

    def initialise(self) -> Stage:
        """The network's initial weights (or the ones the spec names as `weights:`)."""
        ...

    def dense_masks(self) -> Stage:
        """Masks that keep every weight."""
        ...

    def train(self, weights: Stage, masks: Stage | None = None, until: Step | None = None) -> Stage:
        """Weights after training `weights` under `masks` (default: dense) from their step of the schedule to
        `until` (default: the end). The optimiser starts fresh; removed weights stay exactly zero.
        Raises ValueError if `until` lies before the weights' step or beyond the schedule's end."""
        ...

    def compute(self, function: Callable[..., Tensors], *inputs: Stage, **options: Any) -> Stage:
        """The result of `function(bench, *values, **options)`, a dict of tensors, where `values` are the
        results of `inputs`. The function must depend on nothing else; options must be JSON values."""
        ...

    def latency(self, weights: Stage) -> Stage:
        """What the network in these weights' shapes takes on this trial's device: scalars (float64) "ms/b1",
        "dense_ms/b1" (milliseconds a batch), "speedup/b1" (dense over this) and "peak_mb/b1", for each batch size of
        the spec's `latency`; none for a batch that does not run. Each distinct structure is measured once a device
        type, while nothing else runs on the machine; masks change nothing."""
        ...

    # Inside a computed function:

    def net(self, weights: Tensors) -> nn.Module:
        """The network with these weights, on the trial's device, in training mode."""
        ...

    def scoring_batch(self, per_class: int, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """A class-balanced batch of training images (N, C, H, W) and labels (N,), N = classes * per_class,
        augmented as in training. Other `part`s are other draws. ValueError if a class has fewer images."""
        ...

    def generator(self, purpose: str, *parts: int | str) -> torch.Generator:
        """A CPU generator seeded by the trial's seed and the purpose."""
        ...
