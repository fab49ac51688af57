"""The planning bench: runs a method without training anything and records the stages it asks for."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import nn

from methods import registry
from methods.bench import DataView, Found, Stage, Tensors, Ticket, Workbench
from methods.method import Method
from methods.step import Step
from methods.updater import Updater
from orchestrator.engine.files import digest, file_digest
from orchestrator.engine.nets.copies import with_zeros
from orchestrator.engine.request import Request, training_key
from orchestrator.engine.setting import Setting
from orchestrator.engine.source import source_hash
from orchestrator.engine.train import learning_rate
from orchestrator.spec.arms import expand
from orchestrator.spec.method import Method as MethodEntry
from orchestrator.spec.problems import SpecError


class PlanningBench:
    """A Workbench that names stages and computes none. `requests` holds what was asked for, in order."""

    def __init__(self, setting: Setting, method: type[Method], seed: int, sparsity: Decimal) -> None:
        self.seed, self.sparsity = seed, sparsity
        self.method_source = source_hash(method.__module__)
        self.requests: dict[str, Request] = {}
        self.answers: dict[str, float] = {}
        """What a method whose course depends on data was told (`ask`)."""
        self._stand_on(setting)

    def _stand_on(self, setting: Setting) -> None:
        self.setting = setting
        self.layers, self.residual = setting.layers, setting.residual
        self.classes, self.smallest_class = len(setting.data.classes), setting.smallest_class
        self.shape = setting.data.shape
        self.recipe: Mapping[str, Any] = setting.recipe
        self.latency_batches = setting.spec.latency.batches
        # of the shapes alone: the masks of one setting that keep all are those of another on the same network
        self._dense = digest({"kind": "dense masks", "layers": [[layer.name, layer.shape] for layer in self.layers]})

    def on(self, data: DataView | None = None, recipe: Mapping[str, Any] | None = None) -> Self:
        """See Workbench. What is asked of either bench is in `requests` of both."""
        bench = copy.copy(self)
        bench._stand_on(self.setting.on(data, self.seed, recipe))
        return bench

    def examine(self, function: Callable[[nn.Module, Workbench], Found]) -> Found:
        """See Workbench."""
        key = f"{function.__module__}.{function.__qualname__}"
        if key not in self.setting.examined:
            self.setting.examined[key] = function(with_zeros(self.setting.skeleton).eval(), self)
        return cast(Found, self.setting.examined[key])

    def learning_rate(self, at: Step) -> float:
        """See Workbench."""
        step = min(self.iterations(at), self.setting.total_steps - 1)
        return learning_rate(self.setting.spec.recipe, step, self.setting.per_epoch)

    def macs(self, weights: Tensors | None) -> int:
        """See Workbench."""
        return (self.setting.macs if weights is None else self.setting.macs_of(weights)).total

    def iterations(self, step: Step) -> int:
        """See Workbench."""
        return step.iterations(self.setting.per_epoch)

    # What a method asks for

    def initialise(self, draw: int = 0) -> Stage:
        """See Workbench."""
        if draw and self.setting.model.weights:
            raise ValueError(
                f"other initial weights than those of `weights: {self.setting.model.weights}` were asked for; leave "
                "`weights` out, so that they are drawn"
            )
        key = self._initial(draw)
        self._ask(Request(key, "initialise", draw=draw, bench=self))
        return Stage(key)

    def _initial(self, draw: int = 0) -> str:
        named = {"kind": "initialise", "setting": self.setting.key, "seed": self.seed}
        return digest(named | ({"draw": draw} if draw else {}))

    def dense_masks(self) -> Stage:
        """See Workbench."""
        return Stage(self._dense)

    def train(
        self,
        weights: Stage,
        masks: Stage | None = None,
        until: Step | None = None,
        updater: Updater | None = None,
    ) -> Stage:
        """See Workbench. Weights given by the spec (`weights:`) stand in for the dense training."""
        total = self.setting.total_steps
        end = self.iterations(until) if until else total
        if not weights.step <= end <= total:
            raise ValueError(
                f"cannot train until {until or 'the end'}: the weights stand at step {weights.step} of a schedule of "
                f"{total} steps ({self.setting.spec.recipe.epochs} epochs of {self.setting.per_epoch})"
            )
        if end == weights.step:
            return weights
        mask_key = None if masks is None or masks.key == self._dense else masks.key
        given = self.setting.model.weights and mask_key is None and updater is None
        if given and weights.key == self._initial():
            if until is not None:
                raise ValueError(f"cannot rewind to {until}: the dense network comes from `weights:`, untrained here")
            return weights
        run = digest(
            {
                "kind": "train",
                "setting": self.setting.key,
                "recipe": self.setting.recipe,
                "seed": self.seed,
                "weights": weights.key,
                "masks": mask_key,
                "start": weights.step,
                **({"updater": _identity(updater)} if updater else {}),
            }
        )
        inputs = (weights.key, mask_key) if mask_key else (weights.key,)
        key = training_key(run, end)
        self._ask(Request(key, "train", inputs, run, weights.step, end, updater=updater, bench=self))
        return Stage(key, end)

    def masks_of(self, trained: Stage) -> Stage:
        """See Workbench."""
        key = digest({"kind": "masks", "of": trained.key})
        self._ask(Request(key, "masks", (trained.key,), bench=self))
        return Stage(key)

    def side_by_side(self, asking: Sequence[Callable[[], Stage]]) -> list[Stage]:
        """See Workbench."""
        return [ask() for ask in asking]

    def found_by(self, method: str, options: Mapping[str, Any]) -> Ticket:
        """See Workbench."""
        own = registry.get(method)
        try:
            arms = expand(MethodEntry.model_validate({"name": method, **options}))
        except SpecError as error:
            lines = (line.removeprefix("methods[0]").lstrip(".: ") for line in error.lines)
            raise ValueError(f"{method}: {'; '.join(lines)}") from error
        if len(arms) != 1:
            raise ValueError(f"{method}: one value for each option is expected here, and a list is a grid of several")
        return own(**arms[0].options).find(self)

    def given(self, path: str, part: str) -> Stage:
        """See Workbench. Named by the file's content, so that it may be moved, and is never taken for another."""
        key = digest({"kind": "given", "file": file_digest(Path(path)), "part": part})
        self._ask(Request(key, "given", options={"path": path, "part": part}, bench=self))
        return Stage(key)

    def ask(self, stage: Stage, name: str, otherwise: float) -> float:
        """See Workbench."""
        return self.answers.setdefault(f"{stage.key}/{name}", otherwise)

    def compute(self, function: Callable[..., Tensors], *inputs: Stage, **options: Any) -> Stage:
        """See Workbench. The key covers the source of the function's module and of all that it imports; methods that
        ask for the same share it."""
        module = inspect.getmodule(function)
        if module is None or not inspect.isfunction(function) or not function.__qualname__.isidentifier():
            raise ValueError(
                f"{function!r} must be a function at the top of a module: its source and its options are then all "
                "that its result depends on"
            )
        keys = tuple(stage.key for stage in inputs)
        key = digest(
            {
                "kind": "compute",
                "setting": self.setting.key,
                "augmentation": self.setting.recipe["augmentation"],
                "seed": self.seed,
                "function": f"{module.__name__}.{function.__qualname__}",
                "source": source_hash(module.__name__),
                "inputs": keys,
                "options": options,
            }
        )
        self._ask(Request(key, "compute", keys, function=function, options=options, bench=self))
        return Stage(key)

    def evaluate(self, weights: Stage, tested: bool = True) -> Stage:
        """Accuracy and loss on the test and validation sets: asked for by the engine, once, at the end. Not `tested`:
        on the validation set alone, for what a search looks at on its way."""
        named = {"kind": "evaluate", "setting": self.setting.key, "weights": weights.key}
        key = digest(named if tested else named | {"tested": False})
        self._ask(Request(key, "evaluate", (weights.key,), options={"tested": tested}, bench=self))
        return Stage(key)

    def latency(self, weights: Stage, runtimes: Sequence[str] = ("dense",)) -> Stage:
        """See Workbench. `runtimes`: for the engine, which asks for all of the spec's once, at the end."""
        how = {**self.setting.latency, "runtimes": list(runtimes)}
        key = digest({"kind": "latency", "setting": self.setting.key, "weights": weights.key, "how": how})
        self._ask(Request(key, "latency", (weights.key,), options={"runtimes": list(runtimes)}, bench=self))
        return Stage(key)

    def _ask(self, request: Request) -> None:
        self.requests.setdefault(request.key, request)

    # What only a function given to `compute` may use

    def net(self, weights: Tensors) -> nn.Module:
        """See Workbench."""
        raise RuntimeError("only a function given to `compute` may use the network")

    def scoring_batch(self, per_class: int, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """See Workbench."""
        raise RuntimeError("only a function given to `compute` may look at data")

    def images(self, split: str, batch: int, part: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """See Workbench."""
        raise RuntimeError("only a function given to `compute` may look at data")

    def generator(self, purpose: str, *parts: int | str) -> torch.Generator:
        """See Workbench."""
        raise RuntimeError("only a function given to `compute` may draw")


def _identity(updater: Updater) -> dict[str, Any]:
    """What a training's key covers of an updater: its class, options and source."""
    kind = type(updater)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "options": dataclasses.asdict(updater),
        "source": source_hash(kind.__module__),
    }
