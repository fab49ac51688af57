"""A bench for structural methods: the engine's way of building a smaller network and of counting its work."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from benches import ScoringBench
from torch import nn

from orchestrator.engine.macs import macs
from orchestrator.engine.nets.copies import load_values, with_zeros
from orchestrator.engine.nets.fitted import fitted

Batch = tuple[torch.Tensor, torch.Tensor]
Tensors = dict[str, torch.Tensor]


class StructureBench(ScoringBench):
    """Networks in the shapes of their weights, given batches of each split."""

    def __init__(
        self,
        net: nn.Module,
        train: list[Batch] | None = None,
        validation: list[Batch] | None = None,
        shape: tuple[int, int, int] = (1, 8, 8),
        classes: int = 10,
        residual: bool | None = None,
    ) -> None:
        super().__init__(net, [])
        self.shape, self.classes, self.residual = shape, classes, residual
        self._splits = {"train": train or [], "validation": validation or []}
        self.weights: Tensors = {name: value.clone() for name, value in net.state_dict().items()}

    def net(self, weights: Tensors) -> nn.Module:
        net = fitted(copy.deepcopy(self._net), weights)
        load_values(net, weights)
        return net.train()

    def images(self, split: str, batch: int, part: int = 0) -> Iterator[Batch]:
        yield from self._splits[split]

    def macs(self, weights: Tensors | None) -> int:
        net = self.net(self.weights if weights is None else weights)
        layers = [layer for layer in self.layers if weights is None or layer.parameter in weights]
        return macs(net, self.shape, layers).total

    def examine(self, function: Callable[[nn.Module, Any], Any]) -> Any:
        return function(with_zeros(copy.deepcopy(self._net)).eval(), self)


def images(number: int, count: int = 4, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10) -> Batch:
    source = torch.Generator().manual_seed(number)
    return torch.randn(count, *shape, generator=source), torch.randint(classes, (count,), generator=source)
