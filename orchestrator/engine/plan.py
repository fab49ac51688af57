"""The plan of a sweep: its trials, the stages each will ask for, and what they share."""

from __future__ import annotations

import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from methods import registry
from methods.method import Method
from orchestrator.engine.chain import Chain, follow
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.request import Request, training_key
from orchestrator.engine.setting import Setting
from orchestrator.engine.source import source_hash
from orchestrator.spec.arms import Arm, arms
from orchestrator.spec.models import Model, Spec
from orchestrator.spec.problems import SpecError


@dataclass(frozen=True)
class Trial:
    """One method, sparsity and seed on one network."""

    model: Model
    arm: Arm
    sparsity: Decimal
    """0 for a method that has one trial whatever the sparsities."""
    seed: int

    @property
    def id(self) -> str:
        """Its name in the sweep's folder and in MLflow: network, method, sparsity in percent, seed."""
        percent = f"{(self.sparsity * 100).normalize():f}"
        parts = [
            model_label(self.model),
            self.arm.label,
            *([f"s{percent}"] if self.sparsity else []),
            f"seed{self.seed}",
        ]
        return "_".join(parts)

    @property
    def method(self) -> Method:
        """The method, ready to find the ticket."""
        return self.method_class(**self.arm.options)

    @property
    def method_class(self) -> type[Method]:
        """The class of the method."""
        return registry.get(self.arm.name)


def model_label(model: Model) -> str:
    """A network's name with its options, fit for a folder's name: resnet32-width2. Of a weights file the name
    without its folder, so that a trial is called the same wherever the file lies."""
    options = "".join(f"-{key}{value}" for key, value in model.options.items())
    weights = f"-{Path(model.weights).stem}" if model.weights else ""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", model.name + options + weights)


def sparsities(spec: Spec, arm: Arm) -> list[Decimal]:
    """The sparsities at which a method is tried: the spec's, unless it has one of its own. Raises SpecError where it
    cannot tell."""
    try:
        return registry.get(arm.name)(**arm.options).sparsities(spec.sparsities)
    except ValueError as error:
        raise SpecError([f"{arm.label}: {error}"]) from error


def trials(spec: Spec) -> list[Trial]:
    """Every trial of a spec, in the order written: model, method, sparsity, seed."""
    found = [
        Trial(model, arm, sparsity, seed)
        for model in spec.model
        for arm in arms(spec)
        for sparsity in sparsities(spec, arm)
        for seed in spec.seeds
    ]
    repeated = [name for name, count in Counter(trial.id for trial in found).items() if count > 1]
    if repeated:
        raise SpecError([f"two trials would both be called {repeated[0]!r}; rename or remove one of the networks"])
    return found


@dataclass(frozen=True)
class Planned:
    """A trial and the chain of stages it will ask for."""

    trial: Trial
    chain: Chain
    per_epoch: int

    @property
    def id(self) -> str:
        """The trial's id."""
        return self.trial.id

    @property
    def epochs(self) -> Fraction:
        """Epochs of training of the whole chain, as if it were the only trial."""
        return Fraction(sum(until - start for start, until in _runs(self.chain.trainings).values()), self.per_epoch)


def _runs(trainings: Iterable[Request]) -> dict[str, tuple[int, int]]:
    """Each training run with the steps from its start to the farthest end that is asked for."""
    runs: dict[str, tuple[int, int]] = {}
    for request in trainings:
        _, until = runs.get(request.run, (request.start, 0))
        runs[request.run] = (request.start, max(until, request.until))
    return runs


class Plan:
    """All trials of a sweep in the order they will be started: the longest chain first."""

    def __init__(
        self,
        planned: Iterable[Planned],
        done: Collection[str] = (),
        has: Callable[[str], bool] = lambda key: False,
        whole: Plan | None = None,
    ) -> None:
        # stable: trials of equal length stay in the order written; but of courses that depend on data the one to the
        # highest sparsity is first, which asks for all that the others of its method and seed will: it pays for it
        self.planned = sorted(planned, key=lambda p: (-p.epochs, -p.trial.sparsity if p.chain.bounded else 0))
        self._whole = whole or self
        self.done = frozenset(done)
        """Trials with a result that stands: they need none of their stages any more, whether these still exist
        or were dropped (`jackpot gc`)."""
        self._has = has

    def given(self, done: Collection[str], has: Callable[[str], bool] = lambda key: False) -> Plan:
        """The same plan where these trials are done, and `has` says which stages exist."""
        return Plan(self.planned, done, has, self._whole if self._whole is not self else None)

    def only(self, method: str | None) -> Plan:
        """The plan of one method's trials alone (by its name or label). Raises SpecError where there are none."""
        chosen = [p for p in self.planned if method in (None, p.trial.arm.name, p.trial.arm.label)]
        if not chosen:
            labels = ", ".join(sorted({p.trial.arm.label for p in self.planned}))
            raise SpecError([f"--only {method}: no such method in this spec; it has: {labels}"])
        return Plan(chosen, self.done, self._has, self._whole)

    @cached_property
    def by_id(self) -> dict[str, Planned]:
        """The planned trials by id."""
        return {planned.id: planned for planned in self.planned}

    @cached_property
    def cuts(self) -> dict[str, list[int]]:
        """Training run -> every step at which some trial of the sweep needs its weights, ascending; also where
        this is the plan of one method alone, so that nothing has to be trained again for the others."""
        if self._whole is not self:
            return self._whole.cuts
        steps: dict[str, set[int]] = defaultdict(set)
        for planned in self.planned:
            for request in planned.chain.trainings:
                steps[request.run].add(request.until)
        return {run: sorted(values) for run, values in steps.items()}

    @cached_property
    def owners(self) -> dict[str, str]:
        """Training stage that is missing as this is first asked -> the trial whose cost it will be: the first one
        left, in the order of the plan, that has to make it."""
        return {key: planned.id for key, (planned, _) in self.missing(self._has).items()}

    def segments(self, planned: Planned) -> dict[str, tuple[int, int]]:
        """The pieces of training that a trial's chain is made of: stage -> first and last step."""
        pieces = {}
        for run, (start, until) in _runs(planned.chain.trainings).items():
            for step in self.cuts[run]:
                if step <= until:
                    pieces[training_key(run, step)] = (start, step)
                    start = step
        return pieces

    @property
    def stages(self) -> int:
        """Distinct stages of all trials."""
        return len({request.key for planned in self.planned for request in planned.chain.requests})

    @property
    def epochs_requested(self) -> float:
        """Epochs of all trials, each as if it were the only one."""
        return float(sum(planned.epochs for planned in self.planned))

    @property
    def epochs_distinct(self) -> float:
        """Epochs of training that the sweep really consists of, every shared piece counted once."""
        return Plan(self.planned).epochs_missing(lambda key: False)

    def missing(self, has: Callable[[str], bool]) -> dict[str, tuple[Planned, Fraction]]:
        """Training stages left to make, given which exist: stage -> the first trial that has to make it, and its
        epochs."""
        found: dict[str, tuple[Planned, Fraction]] = {}
        for planned in self.planned:
            if planned.id in self.done:
                continue
            for run, (start, _) in _runs(planned.chain.trainings).items():
                # to any end that is missing the run goes from the start, past every cut that is missing too
                until = max((r.until for r in planned.chain.trainings if r.run == run and not has(r.key)), default=0)
                for step in self.cuts[run]:
                    key = training_key(run, step)
                    if step <= until and not has(key):
                        found.setdefault(key, (planned, Fraction(step - start, planned.per_epoch)))
                    start = step
        return found

    def epochs_missing(self, has: Callable[[str], bool]) -> float:
        """Epochs left to train, given which stages exist."""
        return float(sum(epochs for _, epochs in self.missing(has).values()))

    def instructions(self, planned: Planned) -> dict[str, Any]:
        """The part of the plan that a trial's bench needs: cuts and owners of its own trainings."""
        return {
            "cuts": {run: self.cuts[run] for run in _runs(planned.chain.trainings)},
            "owners": {key: self.owners[key] for key in self.segments(planned) if key in self.owners},
        }

    def summary(self, has: Callable[[str], bool]) -> dict[str, Any]:
        """What a dry run says."""
        return {
            "trials": len(self.planned),
            "stages": self.stages,
            "epochs_requested": self.epochs_requested,
            "epochs_distinct": self.epochs_distinct,
            "epochs_to_train": self.epochs_missing(has),
            "at_most": any(planned.chain.bounded for planned in self.planned),
            "planned": [
                {
                    "trial": planned.id,
                    "key": planned.chain.key,
                    "epochs": float(planned.epochs),
                    "at_most": planned.chain.bounded,
                    "stages": len(planned.chain.requests),
                    "shared_stages": self._shared(planned),
                    "done": planned.id in self.done,
                }
                for planned in self.planned
            ],
        }

    @cached_property
    def _users(self) -> dict[str, int]:
        users: dict[str, int] = defaultdict(int)
        for planned in self.planned:
            for request in planned.chain.requests:
                users[request.key] += 1
        return users

    def _shared(self, planned: Planned) -> int:
        return sum(self._users[request.key] > 1 for request in planned.chain.requests)


def make_plan(spec: Spec) -> Plan:
    """Plan a sweep by running each method on a planning bench. Raises SpecError with all that methods refuse."""
    source_hash.cache_clear()  # a session may edit a method or network between two runs
    settings = {model_label(model): Setting(spec, model) for model in spec.model}
    planned: list[Planned] = []
    problems: dict[str, None] = {}
    for trial in trials(spec):
        try:
            planned.append(plan_trial(settings[model_label(trial.model)], trial))
        except ValueError as error:
            problems[f"{trial.arm.label} on {model_label(trial.model)} at sparsity {trial.sparsity}: {error}"] = None
    if problems:
        raise SpecError(list(problems))
    return Plan(planned)


def plan_trial(setting: Setting, trial: Trial) -> Planned:
    """The chain of stages of one trial. Raises ValueError where its method refuses."""
    try:
        bench = PlanningBench(setting, trial.method_class, trial.seed, trial.sparsity)
        chain = follow(bench, trial.method, trial.arm.check)
    except ValueError:
        raise
    except Exception as error:  # whatever a plugin raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(
            f"its method raised {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        ) from error
    return Planned(trial, chain, setting.per_epoch)
