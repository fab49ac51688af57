"""The plan of a sweep: its trials, the stages each will ask for, and what they share."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from orchestrator.engine.chain import Chain, follow
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.request import Request, training_key
from orchestrator.engine.search import Ground
from orchestrator.engine.setting import Setting
from orchestrator.engine.source import source_hash
from orchestrator.engine.trials import Trial, model_label, trials
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError


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

    def add(self, planned: Planned) -> None:
        """Take one more trial in, behind the others: what a search decides on its way."""
        for run in _runs(planned.chain.trainings):
            steps = {request.until for request in planned.chain.trainings if request.run == run}
            self.cuts[run] = sorted({*self.cuts.get(run, []), *steps})
        owners, users = self.owners, self._users  # of what was known before, first
        self.planned.append(planned)
        self.by_id[planned.id] = planned
        for request in planned.chain.requests:
            users[request.key] += 1
        for key in self.missing_of(planned, self._has):
            owners.setdefault(key, planned.id)

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

    def lengths(self, planned: Planned) -> dict[str, Fraction]:
        """The trainings of a trial that need not be in the plan: stage -> epochs from the run's start, of the last end
        of each run alone."""
        return {
            training_key(run, until): Fraction(until - start, planned.per_epoch)
            for run, (start, until) in _runs(planned.chain.trainings).items()
        }

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
            if planned.id not in self.done:
                for key, epochs in self.missing_of(planned, has).items():
                    found.setdefault(key, (planned, epochs))
        return found

    def missing_of(self, planned: Planned, has: Callable[[str], bool]) -> dict[str, Fraction]:
        """Training stages that one trial would have to make: stage -> epochs."""
        found: dict[str, Fraction] = {}
        for run, (start, _) in _runs(planned.chain.trainings).items():
            # to any end that is missing the run goes from the start, past every cut that is missing too
            until = max((r.until for r in planned.chain.trainings if r.run == run and not has(r.key)), default=0)
            for step in self.cuts[run]:
                key = training_key(run, step)
                if step <= until and not has(key):
                    found[key] = Fraction(step - start, planned.per_epoch)
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
                    "model": model_label(planned.trial.model),
                    "label": planned.trial.arm.label,
                    "sparsity": float(planned.trial.sparsity),
                    "seed": planned.trial.seed,
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
    known: dict[str, Trial] = {}
    for trial in [*trials(spec), *_of_search(spec, settings)]:
        if trial.id in known:  # a formula that `methods` name too
            if known[trial.id] != trial:
                problems[f"two trials would both be called {trial.id!r}; write one more option of the method out"] = (
                    None
                )
            continue
        known[trial.id] = trial
        try:
            planned.append(plan_trial(settings[model_label(trial.model)], trial))
        except ValueError as error:
            problems[f"{trial.arm.label} on {model_label(trial.model)} at sparsity {trial.sparsity}: {error}"] = None
    if problems:
        raise SpecError(list(problems))
    return Plan(planned)


def _of_search(spec: Spec, settings: dict[str, Setting]) -> list[Trial]:
    """The trials of a spec's search that are known from the start. Raises SpecError."""
    if spec.search is None:
        return []
    try:
        return Ground(settings[model_label(spec.model[0])]).first_trials()
    except ValueError as error:
        raise SpecError([f"search: {error}"]) from error


def plan_trial(setting: Setting, trial: Trial) -> Planned:
    """The chain of stages of one trial. Raises ValueError where its method refuses."""
    try:
        bench = PlanningBench(setting, trial.method_class, trial.seed, trial.sparsity)
        chain = follow(bench, trial.method, trial.arm.check, trial.tested)
    except ValueError:
        raise
    except Exception as error:  # whatever a plugin raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(
            f"its method raised {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        ) from error
    return Planned(trial, chain, setting.per_epoch)
