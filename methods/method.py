"""The base of every ticket type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from methods.bench import Ticket, Workbench
from methods.layers import Layer


class Options(BaseModel):
    """A method's options: typed, bounded, documented by their docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Method(ABC):
    """A way to find a ticket. A subclass names itself and its paper, declares its `Options`, and writes its
    algorithm in `find`."""

    name: ClassVar[str]
    """Its name in a spec."""
    ticket: ClassVar[str]
    """Which ticket type it finds: dense, random, initial, partially-trained, hybrid, during-training."""
    summary: ClassVar[str]
    """What it does, in a sentence."""
    paper: ClassVar[str]
    """Authors, title, venue."""
    uses_data: ClassVar[bool]
    """Whether finding the ticket looks at the training data."""
    per_sparsity: ClassVar[bool] = True
    """False: it is not tried at the sweep's sparsities, but once a seed and model."""
    granularity: ClassVar[str] = "weight"
    """What it removes: weight, filter, layer."""
    prunes: ClassVar[str] = "before training"
    """When: before training, after training, iteratively, during training."""
    cost: ClassVar[str] = ""
    """The stages it asks for, in words; `jackpot run --dry-run` counts them for a spec."""
    meets_budget: ClassVar[bool] = True
    """Whether its masks hold the budget N - round(p N) to the weight."""
    formulas: ClassVar[dict[str, dict[str, Any]]] = {}
    """Known layer-wise ratios, and the options that choose each; of a method whose ratios can be searched (it has an
    option `ratios`)."""

    Options: ClassVar[type[Options]] = Options

    def __init__(self, **options: Any) -> None:
        self.options: Any = self.Options(**options)

    def sparsities(self, wanted: list[Decimal]) -> list[Decimal]:
        """The sparsities that it is tried at, given the sweep's."""
        return wanted if self.per_sparsity else [Decimal(0)]

    def searched(self, bench: Workbench) -> tuple[Layer, ...]:
        """What a ratio is searched for: the layers; a method that removes filters names its groups, as layers of as
        many weights as they have filters."""
        return bench.layers

    @abstractmethod
    def find(self, bench: Workbench) -> Ticket:
        """Find the ticket of `bench.sparsity`. It runs once on a planning bench too, so it raises ValueError at
        once, saying why, where it cannot serve this network or sparsity."""
