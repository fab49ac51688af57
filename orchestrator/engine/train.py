"""Training: a network under masks from one step of the schedule to another, the same whether it ran in one go
or was broken off anywhere and continued."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from orchestrator.engine.compiling import CompiledOnce
from orchestrator.engine.evaluating import Batch, EvaluationData, evaluate
from orchestrator.engine.masking import Masking, Updating
from orchestrator.engine.nets.copies import load_values
from orchestrator.engine.seeds import generator, seed_globals
from orchestrator.spec.models import Recipe

Tensors = dict[str, torch.Tensor]

TRAINERS = ("optimiser/", "progress/", "mask/")
"""How the names of what is not a weight begin in a trainer's state."""


class TrainingData(EvaluationData, Protocol):
    """What training asks of the data."""

    def order(self, generator: torch.Generator) -> torch.Tensor: ...
    def training(self, plan: Iterable[tuple[torch.Tensor, torch.Generator]]) -> Iterator[Batch]: ...


class Diverged(Exception):
    """The loss or a weight is no longer finite. A result, not an error: the same trial would diverge again.
    `record` is what its stage's record says of the training until then: the step `at` which it ended, `seconds`
    and `history`."""

    def __init__(self, reason: str, record: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.record = dict(record or {})


@dataclass
class Progress:
    """Where a training stands: what a checkpoint holds beside weights and optimiser."""

    step: int
    history: list[dict[str, float]] = field(default_factory=list)
    """A record for each epoch that ended: epoch, lr, loss/train, loss/val, accuracy/val, time."""
    seconds: float = 0.0
    """Time spent training."""
    loss_sum: float = 0.0
    """Sum of the training losses of the images since the epoch began."""
    images: int = 0
    macs: float = 0.0
    """Multiply-accumulates of all steps, if removed weights cost nothing."""


def steps_per_epoch(images: int, batch: int) -> int:
    """Optimiser steps of one epoch. A last batch of a single image is left out: batch norm cannot use it."""
    return max(1, images // batch + (images % batch > 1))


def learning_rate(recipe: Recipe, step: int, per_epoch: int) -> float:
    """Learning rate of step `step` (from 0): a pure function, so that a schedule has no state to lose."""
    schedule = recipe.schedule
    warmup = schedule.warmup.iterations(per_epoch)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    if schedule.name == "cosine":
        total = recipe.epochs * per_epoch
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    passed = sum(step >= milestone.iterations(per_epoch) for milestone in schedule.at)
    return recipe.lr * schedule.gamma**passed


PASSES = 3
"""What a step of training costs in forward passes: the gradients of activations and of weights cost one each."""
WAITING = 32
"""Losses that are looked at together: to look at one is to wait for all that a GPU has still to do."""


def batch_loss(net: nn.Module, images: torch.Tensor, labels: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Mean cross-entropy of a network on images (N, C, H, W) with labels (N,)."""
    return F.cross_entropy(net(images), labels, label_smoothing=label_smoothing)


class Trainer:
    """One training run of `net` from `start` steps into the schedule. `masks`: parameter name -> mask, or none.
    `updating`: what changes these on the way. `cost`: multiply-accumulates of one image's forward pass, given the
    densities of the masked parameters."""

    def __init__(
        self,
        net: nn.Module,
        data: TrainingData,
        images: int,
        recipe: Recipe,
        seed: int,
        start: int,
        masks: Mapping[str, torch.Tensor] | None = None,
        updating: Updating | None = None,
        cost: Callable[[Mapping[str, float]], float] = lambda densities: 0.0,
    ) -> None:
        self.net, self.data, self.recipe, self.seed = net, data, recipe, seed
        self.images = images
        self.per_epoch = steps_per_epoch(images, recipe.batch)
        self.progress = Progress(start)
        self.optimiser = _optimiser(net, recipe)
        device = next(net.parameters()).device
        self.compiled = CompiledOnce(batch_loss, device) if recipe.compile else None
        self._waiting: list[tuple[torch.Tensor, int]] = []
        self.masking = Masking(net, masks or {}, updating, seed)
        self._cost = cost
        self._macs = cost(self.masking.densities())

    def run(
        self,
        until: int,
        *,
        on_epoch: Callable[[dict[str, float]], None] = lambda record: None,
        checkpoint: Callable[[], None] = lambda: None,
        due: Callable[[], bool] = lambda: False,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Train to step `until`. `on_step` is called before every step, and what it raises ends the run there;
        `on_epoch` with the record of every epoch; `checkpoint` after a step whenever `due` says so. Raises
        Diverged."""
        self.net.train()
        for images, labels in self.data.training(self._plan(until)):
            on_step()
            epoch, position = divmod(self.progress.step, self.per_epoch)
            self._step(images, labels)
            if position == self.per_epoch - 1:
                self._settle()
                self._end_epoch(epoch + 1)
                on_epoch(self.progress.history[-1])
            if self.progress.step < until and due():
                checkpoint()
        self._settle()
        if not all(torch.isfinite(value).all() for value in self.net.state_dict().values()):
            raise Diverged(f"a weight is not finite at step {self.progress.step}")

    def _plan(self, until: int) -> Iterator[tuple[torch.Tensor, torch.Generator]]:
        """Of every step from here on: the positions of its images, and the generator of their augmentation. Asked
        for a few steps ahead, so nothing in it depends on how far the training has come."""
        order = torch.empty(0)
        for step in range(self.progress.step, until):
            epoch, position = divmod(step, self.per_epoch)
            if position == 0 or not len(order):
                order = self.data.order(generator(self.seed, "order", epoch))
            indices = order[position * self.recipe.batch : (position + 1) * self.recipe.batch]
            yield indices, generator(self.seed, "augmentation", step)

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        step = self.progress.step
        seed_globals(self.seed, "layers", step)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, step, self.per_epoch)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            loss = self._loss(labels)(self.net, images, labels, self.recipe.label_smoothing)
        loss.backward()
        gradients = self.masking.gradients() if self.masking.due(step + 1) else None
        self.masking.mask_gradients()
        self.optimiser.step()
        self.progress.step += 1
        self._waiting.append((loss.detach(), len(labels)))
        if gradients is not None or len(self._waiting) == WAITING:
            self._settle()
        if gradients is not None:
            self._update_masks(gradients)

    def _loss(self, labels: torch.Tensor) -> Callable[..., torch.Tensor]:
        """An epoch's smaller last batch is not compiled: it would cost a program of its own."""
        return self.compiled if self.compiled and len(labels) == self.recipe.batch else batch_loss

    def _settle(self) -> None:
        """Add the steps whose losses were not looked at yet to the progress. Raises Diverged, at the step of the first
        loss that is not finite, even if others were made after it."""
        progress, waiting, self._waiting = self.progress, self._waiting, []
        losses = torch.stack([loss for loss, _ in waiting]).tolist() if waiting else []
        first = progress.step - len(waiting)
        for step, (loss, (_, images)) in enumerate(zip(losses, waiting, strict=True), first):
            progress.macs += PASSES * self._macs * images
            progress.loss_sum += loss * images
            progress.images += images
            if not math.isfinite(progress.loss_sum):
                progress.step = step + 1
                raise Diverged(f"the training loss is not finite at step {step}")

    def _update_masks(self, gradients: Tensors) -> None:
        """After a step. An updater never sees what is not finite: the loss may be for a step longer than these."""
        if not all(torch.isfinite(each).all() for each in [*gradients.values(), *self.masking.parameters.values()]):
            raise Diverged(f"a weight or its gradient is not finite at step {self.progress.step}")
        self.masking.update(self.progress.step, self.recipe.epochs * self.per_epoch, gradients, self.optimiser)
        self._macs = self._cost(self.masking.densities())

    def _end_epoch(self, epoch: int) -> None:
        record = {
            "epoch": epoch,
            "lr": learning_rate(self.recipe, self.progress.step - 1, self.per_epoch),
            "loss/train": self.progress.loss_sum / self.progress.images,
        }
        measured = evaluate(self.net, self.data, "validation")
        if measured is not None:
            record |= {"loss/val": measured.loss, "accuracy/val": measured.accuracy}
        if self.masking.updating is not None:
            record["sparsity"] = self.masking.sparsity()
        record["time"] = time.time()
        self.progress.history.append(record)
        self.progress.loss_sum, self.progress.images = 0.0, 0

    def state(self) -> Tensors:
        """All that a continued run needs: the network's state_dict, masks that may change under "mask/LAYER", the
        optimiser's tensors under "optimiser/INDEX/NAME" and the progress as JSON bytes under "progress/json".
        Raises Diverged."""
        self._settle()
        tensors = dict(self.net.state_dict()) | self.masking.state()
        for index, slots in self.optimiser.state_dict()["state"].items():
            for name, value in slots.items():
                if value is not None:
                    tensors[f"optimiser/{index}/{name}"] = value
        text = json.dumps(asdict(self.progress)).encode()
        tensors["progress/json"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        return tensors

    def restore(self, tensors: Tensors) -> None:
        """Continue from what `state` gave."""
        load_values(self.net, weights_of(tensors))
        parameters = list(self.net.parameters())
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, index, slot = name.split("/")
                self.optimiser.state[parameters[int(index)]][slot] = _like(parameters[int(index)], value)
        self.masking.restore(tensors)
        self._waiting = []
        self._macs = self._cost(self.masking.densities())
        self.progress = progress_of(tensors)


def progress_of(tensors: Tensors) -> Progress:
    """The progress out of what `Trainer.state` gave."""
    return Progress(**json.loads(bytes(tensors["progress/json"].tolist())))


def weights_of(tensors: Tensors) -> Tensors:
    """The network's state_dict out of what `Trainer.state` gave."""
    return {name: value for name, value in tensors.items() if not name.startswith(TRAINERS)}


def _like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The value on the parameter's device and in its memory format: optimisers compute wrong weights, without a
    word, where the two differ."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = list(net.parameters())
    fused = all(parameter.is_floating_point() for parameter in parameters)
    if recipe.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)
    optimiser = torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )
    if recipe.momentum:
        # From zero, which is what torch begins with at the first gradient: its fused step cannot take parameters
        # that have had one together with others that have not, such as those of a block skipped at random.
        for parameter in filter(lambda parameter: parameter.requires_grad, parameters):
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser
