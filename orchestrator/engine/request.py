"""A stage that a method asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from methods.bench import Tensors
from methods.updater import Updater
from orchestrator.engine.files import digest

if TYPE_CHECKING:
    from orchestrator.engine.planning import PlanningBench


@dataclass(frozen=True)
class Request:
    """One stage asked for: its key, kind and inputs. A training also has its run (the key of the training
    without its end: all ends of one run lie on one path) and the steps of the schedule it covers."""

    key: str
    kind: str
    inputs: tuple[str, ...] = ()
    run: str = ""
    start: int = 0
    until: int = 0
    function: Callable[..., Tensors] | None = field(default=None, compare=False)
    options: dict[str, Any] = field(default_factory=dict, compare=False)
    updater: Updater | None = field(default=None, compare=False)
    draw: int = field(default=0, compare=False)
    bench: PlanningBench | None = field(default=None, compare=False, repr=False)
    """The bench that it was asked of: a trial's own, or that on another setting."""

    @property
    def steps(self) -> int:
        """Optimiser steps of a training, 0 for anything else."""
        return self.until - self.start


def training_key(run: str, until: int) -> str:
    """The key of a training run's weights at a step."""
    return digest({"run": run, "until": until})
