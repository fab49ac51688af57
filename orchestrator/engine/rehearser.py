"""A trial that is gone through to see what it takes: its stages are made for real but for its trainings, of which a few
steps are, and its evaluations, of which a few batches are looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from methods.bench import Tensors
from orchestrator.engine import nets
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.chain import follow
from orchestrator.engine.data import Batches
from orchestrator.engine.few_steps import FewSteps, Timings, evaluation_seconds
from orchestrator.engine.files import digest
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.latencies import Latencies
from orchestrator.engine.nets.copies import with_zeros
from orchestrator.engine.nets.fitted import structure_of
from orchestrator.engine.nets.placing import placed
from orchestrator.engine.plan import plan_trial
from orchestrator.engine.quiet import Quiet
from orchestrator.engine.request import Request
from orchestrator.engine.setting import Setting
from orchestrator.engine.structures import Subject
from orchestrator.engine.train import Trainer, weights_of
from orchestrator.engine.training import train_stage
from orchestrator.engine.trial import blank_result, device_for, keep_ticket, write_result
from orchestrator.engine.trials import Trial, model_label
from orchestrator.spec.models import Spec

Cell = tuple[str, str, str]
"""A network, a method with its options, a sparsity: trials of a cell differ in their seed alone."""


def cell_of(trial: Trial) -> Cell:
    """The cell of a trial; all proposals of a search at a sparsity are of one."""
    label = trial.arm.label if trial.search is None else f"search {trial.arm.name}"
    return model_label(trial.model), label, str(trial.sparsity)


@dataclass(frozen=True)
class Piece:
    """What a stage takes, in seconds."""

    kind: str
    own: float
    """But for steps of training and images evaluated."""
    step: float = 0.0
    """A step, of a training."""
    validation: float = 0.0
    """A validation: of a training, at the end of each epoch; of an evaluation."""
    test: float = 0.0
    dense: bool = True
    """Of a latency: whether the network has the dense structure."""


@dataclass(frozen=True)
class Rehearsed:
    """A trial gone through."""

    pieces: tuple[Piece, ...]
    """Its stages, in the order of its chain."""
    around: float
    """Seconds to plan it, and to write its ticket and result."""

    @property
    def dense(self) -> bool:
        """Whether its networks have the dense structure."""
        return all(piece.dense for piece in self.pieces)


class Rehearser:
    """Goes through trials, in a folder of its own."""

    def __init__(self, spec: Spec, folder: SweepFolder) -> None:
        self.spec, self.folder = spec, folder
        self.settings: dict[str, Setting] = {}
        self.pieces: dict[str, Piece] = {}
        self.timings = Timings()

    def setting(self, trial: Trial) -> Setting:
        """The setting of a trial's network."""
        return self.settings.setdefault(model_label(trial.model), Setting(self.spec, trial.model))

    def warm_up(self, trial: Trial) -> None:
        """Make a step of training: the first one of a process loads much."""
        setting, device = self.setting(trial), device_for(self.setting(trial))
        shape = setting.data.shape
        net = placed(nets.build(trial.model, len(setting.data.classes), shape, trial.seed), device, shape, trains=True)
        batches = Batches(setting.data, self.spec.recipe.augmentation, device)
        Trainer(net, batches, len(setting.data.train.labels), self.spec.recipe, trial.seed, 0).run(1)

    def run(self, trials: Sequence[Trial], seconds: float) -> Iterator[dict[str, Any]]:
        """Go through trials in turn until time is over, and tell of each cell. Those of a method whose networks keep
        the dense structure differ in nothing but masks: one of them is enough."""
        until, enough = None, set()
        for trial in trials:
            if until is not None and time.monotonic() > until:
                return
            cell = cell_of(trial)
            if cell[:2] in enough:
                continue
            try:
                rehearsed = self.go_through(trial)
            except (Exception, SystemExit) as error:  # whatever a method raises on weights that are hardly trained
                yield {"cell": cell, "error": f"{type(error).__name__}: {error}"}
            else:
                yield {"cell": cell, "rehearsed": rehearsed}
                enough |= {cell[:2]} if rehearsed.dense else set()
            until = until or time.monotonic() + seconds

    def go_through(self, trial: Trial) -> Rehearsed:
        """A trial from plan to result, with a few steps of each training. Raises whatever its method does."""
        setting, began = self.setting(trial), time.perf_counter()
        result = blank_result(setting, trial, plan_trial(setting, trial).chain.key, attempt=1)
        bench = _Bench(self, setting, trial)
        around = time.perf_counter() - began
        chain = follow(bench, trial.method, trial.arm.check, trial.tested)
        began = time.perf_counter()
        self.folder.trial(trial.id).mkdir(parents=True)
        keep_ticket(self.folder, bench, chain, result)
        write_result(self.folder, result)
        around += time.perf_counter() - began
        return Rehearsed(tuple(self.pieces[request.key] for request in chain.requests), around)

    def latencies(self) -> Iterator[dict[str, Any]]:
        """Measure the latency of each network as the sweep will, and tell what that takes."""
        for model, setting in self.settings.items():
            with Quiet().alone():
                began = time.perf_counter()
                dense = Subject(setting, with_zeros(setting.skeleton).state_dict(), device_for(setting))
                dense.measure(dense.prepare("dense"))
                yield {"model": model, "latency": time.perf_counter() - began}


class _Bench(TrialBench):
    """Makes every stage for real but for trainings, evaluations and latencies, and times it."""

    def __init__(self, rehearser: Rehearser, setting: Setting, trial: Trial) -> None:
        self.rehearser = rehearser
        super().__init__(
            setting, trial.method_class, trial.seed, trial.sparsity, rehearser.folder.store, device_for(setting)
        )

    def _stand_on(self, setting: Setting) -> None:
        super()._stand_on(setting)
        self.latencies = _Guessed(self)

    def _make(self, request: Request) -> None:
        before, began = self.rehearser.timings.spent, time.perf_counter()
        super()._make(request)
        own = time.perf_counter() - began - (self.rehearser.timings.spent - before)
        bench = request.bench
        assert isinstance(bench, _Bench)
        self.rehearser.pieces[request.key] = bench.piece(request, max(0.0, own))

    def piece(self, request: Request, own: float) -> Piece:
        """What a stage takes that was just made."""
        if request.kind == "latency":
            dense = structure_of(weights_of(self.value(request.inputs[0]))) == structure_of(self.setting.skeleton)
            return Piece("latency", own, dense=dense)
        if request.kind not in ("train", "evaluate"):
            return Piece(request.kind, own)
        weights = weights_of(self.value(request.key if request.kind == "train" else request.inputs[0]))
        validation, test = self._evaluation(weights)
        if request.kind == "train":
            return Piece("train", own, self.rehearser.timings.steps[self._named(weights, request)], validation)
        return Piece("evaluate", own, 0.0, validation, test if request.options["tested"] else 0.0)

    def _named(self, weights: Tensors, request: Request) -> str:
        """What the time of a step depends on: shapes, whether masks are kept, and of what a method may change in the
        recipe, how images are changed, the precision, whether it is compiled, and the optimiser."""
        masked = len(request.inputs) > 1 or request.updater is not None
        recipe = [self.setting.recipe[name] for name in ("augmentation", "precision", "compile", "optimiser")]
        return digest([structure_of(weights), masked, recipe])

    def _train(self, request: Request) -> tuple[Tensors, dict]:
        named = self._named(weights_of(self.value(request.inputs[0])), request)
        trainer = self._trainer(request, partial(FewSteps, self.rehearser.timings, named))
        return train_stage(trainer, request, self.setting, self.store, self.watch)

    def _evaluate(self, request: Request) -> tuple[Tensors, dict]:
        self.net(weights_of(self.value(request.inputs[0])))
        return {}, {}

    def _evaluation(self, weights: Tensors) -> tuple[float, float]:
        """Seconds of evaluating a network on the validation and the test set."""
        named = digest(structure_of(weights))
        if named not in self.rehearser.timings.evaluations:
            net, began = self.net(weights), time.perf_counter()
            with self.watch.quiet.working():
                own = [evaluation_seconds(net, self.batches, split) for split in ("validation", "test")]
            self.rehearser.timings.evaluations[named] = (own[0], own[1])
            self.rehearser.timings.spent += time.perf_counter() - began
        return self.rehearser.timings.evaluations[named]


class _Guessed(Latencies):
    """Latencies that are not measured."""

    def measured(self, stage: str, runtimes: Sequence[str]) -> list[dict[str, Any]]:
        """Records as if latency went with multiply-accumulates: how long measuring takes is asked of others."""
        now, dense = self._bench.macs(weights_of(self._bench.value(stage))), self._bench.macs(None)
        return [
            {
                "runtime": "dense",
                "batch": batch,
                "ms": float(now),
                "dense_ms": float(dense),
                "speedup": dense / max(1, now),
            }
            for batch in self._bench.setting.spec.latency.batches
        ]
