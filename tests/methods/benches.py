"""A bench on which a method's functions and its algorithm can be tried without an engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import torch
from torch import nn

from methods.bench import DataView, Stage, Tensors
from methods.layers import prunable_layers
from methods.step import Step
from methods.updater import Updater
from orchestrator.engine.seeds import generator

PER_EPOCH, EPOCHS = 100, 10


class ScoringBench:
    """What a computed function may use: a net, scoring batches, generators."""

    def __init__(self, net: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]], seed: int = 0) -> None:
        self._net, self._batches, self.seed = net, batches, seed
        self.layers = prunable_layers(net)
        self.shape = (3, 8, 8)
        self.asked: list[tuple[int, int]] = []

    def net(self, weights: Tensors) -> nn.Module:
        self._net.load_state_dict(weights)
        return self._net.train()

    def scoring_batch(self, per_class: int, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        self.asked.append((per_class, part))
        return self._batches[part]

    def generator(self, purpose: str, *parts: int | str) -> torch.Generator:
        return generator(self.seed, purpose, *parts)


class RecordingBench:
    """Writes down the stages that a method asks for, each as its full text."""

    def __init__(self, layers: tuple, sparsity: str, residual: bool = False) -> None:
        self.layers, self.sparsity, self.residual = layers, Decimal(sparsity), residual
        self.seed, self.classes, self.smallest_class, self.shape = 0, 10, 20, (3, 8, 8)
        self.recipe = {"epochs": EPOCHS, "lr": 0.1}
        self.asked: list[str] = []
        self.where = ""

    def _stage(self, text: str, step: int = 0) -> Stage:
        if text not in self.asked:
            self.asked.append(text)
        return Stage(text, step)

    def learning_rate(self, at: Step) -> float:
        return 0.1 - self.iterations(at) / 100000

    def iterations(self, step: Step) -> int:
        return step.iterations(PER_EPOCH)

    def initialise(self, draw: int = 0) -> Stage:
        return self._stage(f"init{draw or ''}")

    def on(self, data: DataView | None = None, recipe: dict[str, Any] | None = None) -> RecordingBench:
        other = copy.copy(self)
        other.where = f"{self.where}{[data] if data else ''}{recipe or ''}"
        other.recipe = {**self.recipe, **(recipe or {})}
        return other

    def dense_masks(self) -> Stage:
        return Stage("dense")

    def train(
        self,
        weights: Stage,
        masks: Stage | None = None,
        until: Step | None = None,
        updater: Updater | None = None,
    ) -> Stage:
        end = until.iterations(PER_EPOCH) if until else PER_EPOCH * self.recipe["epochs"]
        if end == weights.step:
            return weights
        what = f"{weights.key}, {masks.key if masks else 'dense'}, {weights.step}-{end}"
        return self._stage(f"train({what}{f', {updater}' if updater else ''}){self.where}", end)

    def masks_of(self, trained: Stage) -> Stage:
        return self._stage(f"masks_of({trained.key})")

    def compute(self, function: Callable[..., Tensors], *inputs: Stage, **options: Any) -> Stage:
        return self._stage(f"{function.__name__}({', '.join(stage.key for stage in inputs)}, {options})")
