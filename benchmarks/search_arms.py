"""The searches that `benchmarks/search.py` compares, and the trials that they run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.distributions import FloatDistribution
from ray.tune.search.optuna import OptunaSearch

from methods import budget
from methods.ratios import given_counts
from orchestrator import api
from orchestrator.engine.files import digest, read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import plan_trial
from orchestrator.engine.results import FINAL
from orchestrator.engine.search import Ground
from orchestrator.engine.seeds import derive
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import run_trial
from orchestrator.engine.trials import Trial
from orchestrator.engine.watch import Watch
from orchestrator.spec.arms import Arm
from orchestrator.spec.loading import load
from orchestrator.spec.models import Spec

PENALTY = 10.0
"""What the penalised search pays in accuracy for each unit of sparsity that it misses the budget by."""
CONCURRENCY = 2
"""Proposals in flight in every arm: proposal n is made from exactly the results 0 to n - CONCURRENCY."""

Result = dict[str, Any]


@dataclass(frozen=True)
class Proposal:
    """A layer-wise ratio that a search tried."""

    source: str
    """The formula of a warm start, or the arm's own draw."""
    counts: list[int]
    """Weights kept in each layer; empty where the trial has no ticket."""
    values: tuple[float, ...] | None
    """What the search maximises (accuracy/val less the penalty) and, with two objectives, minimises (macs over the
    dense network's); None where training diverged."""
    loss: float | None
    """On validation: what tells equal accuracies apart."""
    seconds: float
    """That its trial ran, waits left out."""


class Bench:
    """The trials of one spec, trained in one sweep's folder by the processes of a pool."""

    def __init__(self, spec: dict[str, Any], folder: Path, pool: Executor, run: str) -> None:
        """`run`: names this run of the benchmark, so that failures of an earlier one block nobody."""
        self.spec, self.folder, self._pool, self._run = load(spec).require(), folder, pool, run
        self.ground = Ground(Setting(self.spec, self.spec.model[0]))
        self.layers, self.search = self.ground.layers, self.ground.search
        self.target = self.search.sparsity[0]
        self.keep = self.ground.kept(self.target)
        self.ups = [objective.up for objective in self.search.objectives]

    def start(self, trial: Trial) -> Future[Result]:
        """Have a trial run, unless its result is on disk."""
        return self._pool.submit(train, self.spec, self.folder, trial, self._run)

    def propose(self, arm: str, number: int, counts: Sequence[int]) -> Future[Result]:
        """Have a ticket of these counts trained at its own sparsity, on the search's seed."""
        total = budget.total(self.layers)
        sparsity = (1 - Decimal(sum(counts)) / total).quantize(Decimal("1e-12"))
        trial = self.ground.proposal(number, {"ratios": self.ratios(counts)}, sparsity)
        return self.start(replace(trial, arm=replace(trial.arm, label=f"{arm}{number}")))

    def fresh(self, counts: Sequence[int], seed: int) -> Trial:
        """A finalist's trial. It is named by its counts, so that a ratio two arms found is trained once."""
        label = f"finalist-{digest(list(counts))[:12]}"
        return self.trial(self.ground.arm({"ratios": self.ratios(counts)}, label), seed)

    def trial(self, arm: Arm, seed: int) -> Trial:
        """A trial at the budget, evaluated on test."""
        return Trial(self.spec.model[0], arm, self.target, seed)

    def ratios(self, counts: Sequence[int]) -> dict[str, float]:
        """The keep ratio of each layer."""
        return {layer.name: count / layer.weights for layer, count in zip(self.layers, counts, strict=True)}

    def fitted(self, counts: Sequence[int]) -> list[int]:
        """The same proportions at the budget exactly."""
        ratios = {layer.name: Decimal(n) / layer.weights for layer, n in zip(self.layers, counts, strict=True)}
        return given_counts(ratios, self.layers, self.target)

    def proposal(self, source: str, result: Result) -> Proposal:
        """What a search learns of a result."""
        kept = {row["name"]: row["kept"] for row in result["layers"]}
        counts = [kept[layer.name] for layer in self.layers] if kept else []
        values, metrics = None, result["metrics"]
        if result["status"] == "done":
            miss = abs(sum(counts) - self.keep) / budget.total(self.layers)
            values = (metrics["accuracy/val"] - PENALTY * miss, metrics["macs"] / metrics["macs/dense"])
            values = values[: len(self.ups)]
        seconds = result["ended"] - result["started"] - result["waited_seconds"]
        return Proposal(source, counts, values, metrics.get("loss/val"), seconds)


def one_thread() -> None:
    """Set a worker process up as Jackpot's workers are."""
    torch.set_num_threads(1)


_SETTINGS: dict[str, Setting] = {}
"""Of this process, by the spec's JSON: the data are loaded once."""


def train(spec: Spec, folder: Path, trial: Trial, run: str) -> Result:
    """The result of a trial: from disk, or it is run. Raises RuntimeError where it fails."""
    setting = _SETTINGS.setdefault(spec.model_dump_json(), Setting(spec, spec.model[0]))
    sweep = SweepFolder(folder)
    key = plan_trial(setting, trial).chain.key
    result = sweep.result(trial.id, key)
    if result is None or result["status"] not in FINAL:
        result = run_trial(sweep, setting, trial, key, Watch(trial=trial.id, run=run))
    if result["status"] not in FINAL:
        raise RuntimeError(f"{folder.name}/{trial.id}: {result['status']}: {result['error'] or result['blocked_by']}")
    _check_counts(trial, result)
    return result


def _check_counts(trial: Trial, result: Result) -> None:
    """Raise RuntimeError where a ticket does not keep what its ratios say, to the weight."""
    ratios = trial.arm.options["ratios"]
    for row in result["layers"] if ratios else []:
        if row["kept"] != (wanted := round(float(ratios[row["name"]]) * row["weights"])):
            raise RuntimeError(f"{trial.id}: {row['name']} keeps {row['kept']} weights where {wanted} were proposed")


# The arms


def jackpot(bench: Bench) -> list[Proposal]:
    """(a) The spec's own search: a sweep of Jackpot in the bench's folder."""
    outcome = api.run(bench.spec, out=bench.folder)
    if outcome.exit_code:
        raise RuntimeError(f"{bench.folder}: the sweep did not end well; run the benchmark again, or see its logs")
    found = []
    for said in read_sealed(bench.folder / "search" / "summary.json")["proposals"]:
        result = SweepFolder(bench.folder).result(said["trial"])
        assert result is not None, said
        found.append(bench.proposal(said["source"], result))
    return found


def warm_starts(bench: Bench, proposals: Sequence[Proposal]) -> list[Proposal]:
    """Jackpot's warm starts, which begin the other arms too: the same trials, so their results are theirs."""
    found = [each for each in proposals if each.source in bench.ground.method.formulas]
    if bad := [each.source for each in found if each.values is None]:
        raise RuntimeError(f"the warm start {bad[0]} diverged, so the arms cannot start alike; lower the learning rate")
    return found


def penalised(bench: Bench, warm: Sequence[Proposal]) -> list[Proposal]:
    """(b) Ray's OptunaSearch with its defaults: a keep ratio in [0, 1] for each layer, any budget, and PENALTY."""
    names = [layer.name for layer in bench.layers]
    metrics = ["accuracy", "macs"][: len(bench.ups)]
    searcher = OptunaSearch(
        {name: FloatDistribution(0.0, 1.0) for name in names},
        metric=metrics,
        mode=["max" if up else "min" for up in bench.ups],
        points_to_evaluate=[bench.ratios(each.counts) for each in warm],
        seed=bench.search.seed,
    )
    found: list[Proposal] = []
    running: dict[int, Callable[[], Proposal]] = {}

    def end(number: int) -> None:
        own = running.pop(number)()
        found.append(own)
        told = dict(zip(metrics, own.values, strict=True)) if own.values else None
        searcher.on_trial_complete(str(number), told, error=told is None)

    for number in range(bench.search.trials):
        if number >= CONCURRENCY:
            end(number - CONCURRENCY)
        point = searcher.suggest(str(number))
        assert point is not None
        counts = [max(1, round(point[layer.name] * layer.weights)) for layer in bench.layers]
        if number < len(warm):
            assert counts == [max(1, count) for count in warm[number].counts], "OptunaSearch left a warm start out"
            running[number] = functools.partial(warm.__getitem__, number)
        else:
            running[number] = _awaited(bench, "penalised", bench.propose("penalised", number, counts))
    for number in sorted(running):
        end(number)
    return found


def simplex(bench: Bench, warm: Sequence[Proposal]) -> list[Proposal]:
    """(c) Random search: the layers' shares of the budget drawn from Dirichlet(1, ..., 1), uniform on the simplex."""
    running = []
    for number in range(len(warm), bench.search.trials):
        draw = np.random.default_rng(derive(bench.search.seed, "simplex", number))
        shares = [Fraction(float(share)) for share in draw.dirichlet(np.ones(len(bench.layers)))]
        low, high = [1] * len(bench.layers), [layer.weights for layer in bench.layers]
        counts = budget.project(shares, low, high, bench.keep)
        running.append(_awaited(bench, "simplex", bench.propose("simplex", number, counts)))
    return [*warm[: bench.search.trials], *(wait() for wait in running)]


def _awaited(bench: Bench, source: str, future: Future[Result]) -> Callable[[], Proposal]:
    return lambda: bench.proposal(source, future.result())
