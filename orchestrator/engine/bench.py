"""The bench of a running trial: finds every stage it is asked for in the store, or computes it and keeps it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from methods.bench import Stage, Tensors
from methods.method import Method
from orchestrator.engine import nets
from orchestrator.engine.computing import computed
from orchestrator.engine.data import Batches
from orchestrator.engine.evaluating import evaluate
from orchestrator.engine.latencies import Latencies
from orchestrator.engine.macs import macs_by_parameter
from orchestrator.engine.masking import Updating, checked_masks, masks_in
from orchestrator.engine.nets.copies import load_values
from orchestrator.engine.nets.fitted import fitted, structure_of
from orchestrator.engine.nets.placing import placed
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.request import Request, training_key
from orchestrator.engine.seeds import derive, generator, seed_globals
from orchestrator.engine.setting import Setting
from orchestrator.engine.speed import NAMES
from orchestrator.engine.store import Store
from orchestrator.engine.ticket import read_part
from orchestrator.engine.train import Diverged, Trainer, weights_of
from orchestrator.engine.training import train_stage
from orchestrator.engine.watch import Blocked, Busy, StageFailed, Stopped, Watch, unwritable

log = logging.getLogger(__name__)


class TrialBench(PlanningBench):
    """A Workbench over a store. A stage that exists is read, never recomputed; one that another process is
    computing is waited for, and taken over if that process dies."""

    def __init__(
        self,
        setting: Setting,
        method: type[Method],
        seed: int,
        sparsity: Decimal,
        store: Store,
        device: torch.device,
        watch: Watch | None = None,
    ) -> None:
        self.store, self.device, self.watch = store, device, watch or Watch()
        self._jobs: dict[str, Request] = {}
        self._recent: dict[str, Tensors] = {}
        super().__init__(setting, method, seed, sparsity)

    def _stand_on(self, setting: Setting) -> None:
        super()._stand_on(setting)
        self._batches: Batches | None = None
        self.latencies = Latencies(self)

    @property
    def batches(self) -> Batches:
        """The data as this bench sees them."""
        if self._batches is None:
            self._batches = Batches(self.setting.data, self.setting.spec.recipe.augmentation, self.device)
        return self._batches

    def _ask(self, request: Request) -> None:
        super()._ask(request)
        self.ensure(request)

    def meta(self, key: str) -> dict[str, Any]:
        """The record of a stage that this trial has asked for. Raises Diverged where that is its result."""
        meta = self.store.meta(key)
        while meta is None:  # damaged since it was made, and set aside
            self.ensure(self._jobs[key])
            meta = self.store.meta(key)
        if reason := meta.get("diverged"):
            known = {name: meta[name] for name in ("at", "seconds", "history")}
            raise Diverged(f"{reason} (stage {key[:12]})", known)
        return meta

    def value(self, key: str) -> Tensors:
        """The tensors of a stage that this trial has asked for."""
        if key == self._dense:
            return {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in self.layers}
        if key not in self._recent:
            while (found := self.store.read(key)) is None:
                self.ensure(self._jobs[key])
            while len(self._recent) > 1:  # two are enough: the weights and masks that the next stage starts from
                del self._recent[next(iter(self._recent))]
            self._recent[key] = found[0]
        return self._recent[key]

    def side_by_side(self, asking: Sequence[Callable[[], Stage]]) -> list[Stage]:
        """See Workbench."""
        found: dict[int, Stage] = {}
        self.watch.patient = False
        try:
            for i, ask in enumerate(asking):
                with suppress(Busy):
                    found[i] = ask()
        finally:
            self.watch.patient = True
        return [found[i] if i in found else ask() for i, ask in enumerate(asking)]

    def ask(self, stage: Stage, name: str, otherwise: float) -> float:
        """See Workbench."""
        return self.answers.setdefault(f"{stage.key}/{name}", float(self.value(stage.key)[name]))

    def masks(self, masks: Stage, weights: Tensors) -> Tensors:
        """Masks by layer name, checked to be in the shapes of these weights; of a layer that was removed there is
        none. Raises ValueError where they are not."""
        shapes = {layer.name: weights[layer.parameter].shape for layer in self.layers if layer.parameter in weights}
        if masks.key == self._dense:
            return {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}
        return checked_masks(self.value(masks.key), shapes)

    def ensure(self, request: Request) -> None:
        """Have a stage in the store: made by another process, or here. Raises Stopped, Busy, Blocked, StageFailed and
        Diverged."""
        self._jobs[request.key] = request
        began = time.monotonic()
        while not self.store.has(request.key):
            if self.watch.stopping():
                raise Stopped
            with self.store.claim(request.key, self.watch.run, self.watch.trial) as mine:
                if mine and not self.store.has(request.key):
                    failed = self.store.failed_in(request.key, self.watch.run)
                    if failed not in (None, self.watch.trial):
                        raise Blocked(request.key, failed)
                    self.watch.waited += time.monotonic() - began
                    self._make(request)
                    break
            if not self.watch.patient:
                raise Busy
            self.watch.tell({"stage": request.key, "kind": request.kind, "waiting": "a stage another trial is making"})
            time.sleep(self.store.look_seconds)
        else:
            self.watch.waited += time.monotonic() - began
        self.meta(request.key)

    def _make(self, request: Request) -> None:
        self.watch.tell({"stage": request.key, "kind": request.kind})
        log.info("stage %s: %s", request.key[:12], request.kind)
        bench = cast(TrialBench, request.bench)
        makers = {
            "initialise": bench._initialise,
            "train": bench._train,
            "masks": bench._masks,
            "given": bench._given,
            "compute": bench._compute,
            "evaluate": bench._evaluate,
            "latency": bench._latency,
            "measure": bench.latencies.make,
        }
        try:
            tensors, meta = makers[request.kind](request)
        except Diverged as reason:
            # on the way to a step before this stage's own: the training until then is that stage's
            tensors, meta = {}, {**reason.record, "diverged": str(reason), "steps": 0}
        except (Stopped, StageFailed, Blocked, Busy):
            raise
        except (Exception, SystemExit) as error:
            if unwritable(error):  # no fault of the stage's
                raise
            if self.store.has(request.key):  # a worker that was given up, and lives, was first, and took files away
                return
            self.store.mark_failed(request.key, self.watch.run, self.watch.trial)
            raise StageFailed(request.key) from error
        known = {"kind": request.kind, "inputs": list(request.inputs), "made": time.time()}
        before = self.store.record(request.key) or {}  # of a damaged one, whose cost stays with the trial that had it
        owner = before.get("trial", self.watch.owners.get(request.key, self.watch.trial))
        self.store.write(request.key, tensors, {**known, "trial": owner, **meta})
        self.store.drop_checkpoint(request.key)

    # The kinds of stage

    def _initialise(self, request: Request) -> tuple[Tensors, dict]:
        # other draws are those of another seed, which no trial has
        net = self._build(derive(self.seed, "draw", request.draw) if request.draw else self.seed)
        if self.setting.model.weights:
            nets.load_weights(net, self.setting.model.weights)
        return dict(net.state_dict()), {}

    def _masks(self, request: Request) -> tuple[Tensors, dict]:
        return masks_in(self.value(request.inputs[0])), {}

    def _given(self, request: Request) -> tuple[Tensors, dict]:
        return read_part(Path(request.options["path"]), request.options["part"]), {}

    def _compute(self, request: Request) -> tuple[Tensors, dict]:
        assert request.function is not None
        values = [self.value(key) for key in request.inputs]
        seed_globals(self.seed, "layers while computing")
        with self.watch.quiet.working():
            return computed(self, self.device, request.function, values, request.options), {}

    def _evaluate(self, request: Request) -> tuple[Tensors, dict]:
        net = self.net(weights_of(self.value(request.inputs[0])))
        tensors, meta = {}, {}
        seed_globals(self.seed, "layers while testing")
        for split in ("test", "validation") if request.options["tested"] else ("validation",):
            with self.watch.quiet.working():
                measured = evaluate(net, self.batches, split)
            if measured:
                tensors[f"{split}/correct"] = measured.correct
                meta[split] = {"accuracy": measured.accuracy, "loss": measured.loss}
        return tensors, meta

    def _latency(self, request: Request) -> tuple[Tensors, dict]:
        records = (self.watch.elsewhere or self.latencies.measured)(request.inputs[0], request.options["runtimes"])
        tensors = {
            f"{name}/b{record['batch']}": torch.tensor(record[name], dtype=torch.float64)
            for record in records
            for name in NAMES
            if record["runtime"] == "dense" and name in record
        }
        return tensors, {"records": records}

    def _train(self, request: Request) -> tuple[Tensors, dict]:
        before = self._cuts_before(request)
        trainer = self._trainer(request, Trainer)
        if before:
            trainer.restore(self.value(before[-1].key))
        return train_stage(trainer, request, self.setting, self.store, self.watch)

    def _trainer(self, request: Request, kind: Callable[..., Trainer]) -> Trainer:
        """The training of a stage, at its start. Raises ValueError where it cannot begin."""
        start, *masks = request.inputs
        weights = weights_of(self.value(start))
        kept = self.masks(Stage(masks[0]), weights) if masks else {}
        if bad := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
            raise ValueError(f"the weights to train from are not finite: {bad[0]!r} holds NaN or infinity")
        net = self._placed(weights, trains=True)
        images = len(self.setting.data.train.labels)
        there = [layer for layer in self.layers if layer.parameter in weights]
        if request.updater and not kept:
            kept = self.masks(self.dense_masks(), weights)
        return kind(
            net,
            self.batches,
            images,
            self.setting.spec.recipe,
            self.seed,
            request.start,
            {layer.parameter: kept[layer.name] for layer in there if layer.name in kept},
            Updating(request.updater, there) if request.updater else None,
            partial(macs_by_parameter, self.setting.macs_of(weights), {layer.parameter: layer.name for layer in there}),
        )

    def _cuts_before(self, request: Request) -> list[Request]:
        """The stages of the same run that others need on the way there, each made if it is missing."""
        steps = [step for step in self.watch.cuts.get(request.run, []) if request.start < step < request.until]
        cuts = [replace(request, key=training_key(request.run, step), until=step) for step in sorted(steps)]
        for cut in cuts:
            self.ensure(cut)
        return cuts

    # What a computed function may use

    def _build(self, seed: int | None = None) -> nn.Module:
        seed = self.seed if seed is None else seed
        return nets.build(self.setting.model, self.classes, self.setting.data.shape, seed)

    def net(self, weights: Tensors) -> nn.Module:
        """See Workbench."""
        return self._placed(weights, trains=False)

    def _placed(self, weights: Tensors, trains: bool) -> nn.Module:
        net, shape = self._build(), self.setting.data.shape
        if structure_of(net) != structure_of(weights):
            net = fitted(net, weights, shape)
        net = placed(net, self.device, shape, trains)
        load_values(net, weights)
        return net.train()

    def scoring_batch(self, per_class: int, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """See Workbench."""
        return self.batches.scoring(per_class, self.generator("scoring", part))

    def images(self, split: str, batch: int, part: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """See Workbench."""
        if split == "validation":
            return self.batches.evaluation(split, batch)
        order = self.batches.order(self.generator("order of images", part)).split(batch)
        return self.batches.training(
            (own, self.generator("augmentation of images", part, number)) for number, own in enumerate(order)
        )

    def generator(self, purpose: str, *parts: int | str) -> torch.Generator:
        """See Workbench."""
        return generator(self.seed, purpose, *parts)
