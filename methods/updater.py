"""What changes a network's masks while it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from methods.bench import Tensors


@dataclass(frozen=True)
class Moment:
    """A training as an updater sees it, just after an optimiser step. Tensors are by layer name, in the weight's
    shape, on the trial's device; an updater changes none of them in place."""

    step: int
    """Optimiser steps done, counted from the schedule's beginning: 1 after the first."""
    steps: int
    """Optimiser steps of the whole schedule."""
    weights: Tensors = field(repr=False)
    """After the step; removed ones are zero."""
    masks: Tensors = field(repr=False)
    """Bool, True is kept."""
    gradients: Tensors = field(repr=False)
    """Of the loss on the step's minibatch, by every weight, removed ones too; without weight decay."""
    generator: Callable[..., torch.Generator] = field(repr=False)
    """`generator(purpose, *parts)`: a CPU generator seeded by the trial's seed, the purpose and the step."""


@dataclass(frozen=True)
class Change:
    """New masks by layer name. A weight that was removed starts from zero, with zero momentum, where it is kept
    again."""

    masks: Tensors
    reset: Tensors | None = None
    """Positions (bool, by layer name) that start from zero although they were kept before: removed and grown back at
    once."""


@dataclass(frozen=True)
class Updater(ABC):
    """Changes masks while the network trains. A subclass is a frozen dataclass at the top of a module, whose fields
    are JSON values: these and its source are part of the training's key. It holds no state: what it decides depends on
    its fields and arguments alone, so that a training that was stopped goes on as if it had not been."""

    @abstractmethod
    def due(self, step: int) -> bool:
        """Whether masks may change after optimiser step `step` (1 is the schedule's first)."""

    @abstractmethod
    def change(self, moment: Moment) -> Change:
        """The masks from here on. Called only where `due`."""
