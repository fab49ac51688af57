"""A search over layer-wise ratios while a sweep runs: which proposal is next, given exactly which results."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from orchestrator.engine.decisions import Decided, Decisions
from orchestrator.engine.files import digest
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned, plan_trial
from orchestrator.engine.results import FINAL
from orchestrator.engine.search import Ground
from orchestrator.engine.setting import Setting
from orchestrator.engine.trials import Trial
from orchestrator.spec.models import Spec
from orchestrator.sweep.choosing import best
from orchestrator.sweep.study import Study, Told
from search_spaces.space import Inexpressible, Space

DRAWS = 20
"""So many draws are made for a proposal that was not tried before."""
HOPELESS = 5
"""So many proposals in a row from the first that all fail end the search: the next would fail too."""

Result = Mapping[str, Any]


class RatioSearch:
    """Decides on trials as their results come in. `take` is called with each trial that was decided on, so that it may
    be planned; what was decided in earlier runs is taken in at once.

    Proposal n is made from exactly the results 0 to n - c (c: the spec's `concurrency`), told in the order of their
    numbers, whichever ended first."""

    def __init__(self, spec: Spec, folder: SweepFolder, plan: Plan, hours: Callable[[], float] = lambda: 0.0) -> None:
        assert spec.search is not None
        self.spec, self.search, self.folder, self.plan, self._hours = spec, spec.search, folder, plan, hours
        self.setting = Setting(spec, spec.model[0])
        self.ground = Ground(self.setting)
        self.decisions = Decisions(folder.path, self.ground.definition)
        self.ended: set[int] = set()
        """Proposals that have come to an end in this run, well or not."""
        self.over: str | None = None
        """Why no proposal is made any more, although not all were."""
        self.seconds: list[float] = []
        """What each proposal of this run took the driver."""
        self._results: dict[int, Result | None] = {}
        self._fill()

    # What there is

    @cached_property
    def first(self) -> int:
        """The number of the sampler's first proposal: the warm starts go before it."""
        return min(len(self.ground.warm_starts), self.search.trials)

    @cached_property
    def trials(self) -> dict[int, Planned]:
        """Proposals by number, as far as they are decided on."""
        return {p.trial.search: p for p in self.plan.planned if p.trial.search is not None}

    def _fill(self) -> None:
        """Take in the proposals that were made before; of warm starts the plan knows."""
        for decided in self.decisions.proposals.values():
            if decided.number < self.search.trials:
                self._plan(self.ground.proposal(decided.number, decided.options, Decimal(decided.sparsity)))

    @property
    def settled(self) -> bool:
        """Whether every trial of the search has a result, the finalists too."""
        finalists = self.decisions.finalists
        tested = self.search.finalists.best == 0 or bool(finalists)
        return (
            self.complete
            and tested
            and all(
                (found := self.folder.result(each.trial, each.key)) and found["status"] in FINAL for each in finalists
            )
        )

    def forecast(self) -> dict[str, Any]:
        """What is still to be decided on: how many trials of how many epochs, what others share left out."""
        any_ratio = {"ratios": {layer.name: 1 / (i + 2) for i, layer in enumerate(self.ground.layers)}}
        some = plan_trial(self.setting, self.ground.proposal(self.number, any_ratio, self.search.sparsity[0]))
        shared = {key for planned in self.trials.values() for key in self.plan.segments(planned)}
        each = float(sum(e for key, e in self.plan.lengths(some).items() if key not in shared))
        finalists = 0 if self.settled else self.search.finalists.best * len(self.search.finalists.seeds)
        proposals = 0 if self.over else max(0, self.search.trials - self.number)
        return {
            "proposals": proposals,
            "finalists": finalists,
            "epochs_each": each,
            "epochs": each * (proposals + finalists),
        }

    @property
    def undecided(self) -> int:
        """How many trials are still to be decided on, at most."""
        left = 0 if self.over else max(0, self.search.trials - self.number)
        return left + (0 if self.finished else self.search.finalists.best * len(self.search.finalists.seeds))

    def _plan(self, trial: Trial) -> Planned:
        planned = plan_trial(self.setting, trial)
        if planned.id not in self.plan.by_id:
            self.plan.add(planned)
            if self.result_of(planned) is not None:
                self.plan.done |= {planned.id}
        if trial.search is not None:
            self.trials[trial.search] = planned
        return planned

    def result_of(self, planned: Planned) -> Result | None:
        """A trial's result that stands."""
        found = self.folder.result(planned.id, planned.chain.key)
        return found if found and found["status"] in FINAL else None

    def result(self, number: int) -> Result | None:
        """A proposal's result that stands."""
        if self._results.get(number) is None and number in self.trials:
            self._results[number] = self.result_of(self.trials[number])
        return self._results.get(number)

    def known(self, number: int) -> bool:
        """Whether it is known how a proposal ended; one that failed in an earlier run is tried again first."""
        return self.result(number) is not None or number in self.ended

    def end(self, trial: str) -> None:
        """A trial has come to its end."""
        number = self.plan.by_id[trial].trial.search
        if number is not None:
            self.ended.add(number)

    # What is decided

    def advance(self) -> list[Planned]:
        """Decide on all that can be decided on now: proposals, then the finalists; new ones are returned."""
        found = []
        while (planned := self._next()) is not None:
            found.append(planned)
        if self.complete:
            found += self._choose()
        elif self.decisions.finalists:
            self.decisions.choose([])  # of a search that goes on they are chosen again
        return found

    @property
    def number(self) -> int:
        """The next proposal's number."""
        return max(self.first, max(self.trials, default=-1) + 1)

    @property
    def proposed(self) -> bool:
        """Whether no proposal is left to be made."""
        return self.over is not None or self.number >= self.search.trials

    @property
    def complete(self) -> bool:
        """Whether every proposal that is made at all has ended."""
        return self.proposed and all(map(self.known, self.trials))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to decide on."""
        return self.complete and (self.search.finalists.best == 0 or self.chosen)

    chosen = False
    """Whether the finalists are decided on."""

    def _next(self) -> Planned | None:
        """The next proposal, if all that it is made from is known."""
        if self.proposed:
            return None
        number = self.number
        needed = range(number - self.search.concurrency + 1)
        if not all(map(self.known, needed)) or not all(map(self.known, self._profile_numbers.values())):
            return None
        self.over = self._why_over(needed)
        if self.over:
            return None
        began = time.perf_counter()
        study = self.study  # made first, from what there was
        self._catch_up(number)
        for draw in range(DRAWS):
            point, attrs, study_attrs = study.ask(number, draw)
            sparsity = self.ground.sparsity_of(point)
            options = {"ratios": self.ground.ratios(self.space, point)}
            if self._is_new(options, sparsity):
                break
        else:
            self.over = f"{DRAWS} draws in a row were ratios that had been tried: the space holds hardly any others"
            return None
        planned = self._plan(self.ground.proposal(number, options, sparsity))
        self.decisions.propose(
            Decided(
                planned.id, planned.chain.key, options, str(sparsity), number,
                point=point, attrs=attrs, study_attrs=study_attrs,
            )
        )  # fmt: skip
        self.seconds.append(time.perf_counter() - began)
        return planned

    def _is_new(self, options: Mapping[str, Any], sparsity: Decimal) -> bool:
        """Whether no proposal has had these ratios."""
        asked = self._named(options, sparsity)
        if asked in self._tried:
            return False
        self._tried.add(asked)
        return True

    def _named(self, options: Mapping[str, Any], sparsity: Decimal) -> str:
        return digest([str(sparsity), [round(value, 12) for value in options["ratios"].values()]])

    @cached_property
    def _tried(self) -> set[str]:
        options = {number: self.options(number) for number in self.trials}
        return {
            self._named(own, self.trials[number].trial.sparsity) for number, own in options.items() if "ratios" in own
        }

    def _why_over(self, needed: Sequence[int]) -> str | None:
        if self.search.max_hours is not None and self._hours() > self.search.max_hours:
            return f"search.max_hours: {self.search.max_hours:g} is over"
        if len(needed) >= HOPELESS and not any(map(self.result, needed)):
            return f"the first {len(needed)} proposals all failed, see `jackpot logs {self.trials[0].id}`"
        if missing := [n for n in self._profile_numbers if not self._layers(self._profile_numbers[n])]:
            return f"the space {self.space_name} is made from {missing[0]}, whose trial has no ticket"
        return None

    @property
    def space_name(self) -> str:
        """The space's name in the spec."""
        return self.search.space.name

    # The study

    @cached_property
    def _profile_numbers(self) -> dict[str, int]:
        """The warm starts whose results the space is made from."""
        sources = {start.source: number for number, start in enumerate(self.ground.warm_starts[: self.first])}
        return {name: sources.get(name, -1) for name in self.ground.profiles}  # -1: never tried

    def _layers(self, number: int) -> list[int] | None:
        """What a proposal's ticket keeps in each layer."""
        result = self.result(number)
        if result is None or not result["layers"] or not self.ground.exact:
            return None
        kept = {layer["name"]: layer["kept"] for layer in result["layers"]}
        return [kept[layer.name] for layer in self.ground.layers]

    @cached_property
    def space(self) -> Space:
        """The space, once the results that it is made from are known."""
        return self.ground.space({name: self._layers(number) or [] for name, number in self._profile_numbers.items()})

    @cached_property
    def study(self) -> Study:
        """The study, told of all that the proposals made so far were made from, in the same order as then."""
        made = Study(
            self.ground.coordinates(self.space),
            self.ups,
            self.search.sampler,
            self.search.seed,
        )
        self.__dict__["study"] = made
        for number in range(self.first, self.number):
            self._catch_up(number)
            decided = self.decisions.proposals[number]
            made.begin(number, decided.point, decided.attrs, decided.study_attrs)
        return made

    def _catch_up(self, number: int) -> None:
        """Tell the study what a proposal is made from, as far as it is known: results 0 to number - concurrency, and
        that the warm starts after these are on their way."""
        until = number - self.search.concurrency + 1
        for each in [n for n in self._untold if n < until and self.known(n)]:
            self.study.tell(each, self.told(each), self._warm_point(each))
            self._untold.remove(each)
        for each in range(max(0, until), self.first):
            if each not in self._begun and (point := self._warm_point(each, early=True)) is not None:
                self._begun.add(each)
                self.study.begin(each, point, {}, {})

    @cached_property
    def _untold(self) -> list[int]:
        return list(range(self.search.trials))

    @cached_property
    def _begun(self) -> set[int]:
        return set()

    def point(self, number: int) -> dict[str, float] | None:
        """A proposal's coordinates, as far as they are known."""
        if number in self.decisions.proposals:
            return self.decisions.proposals[number].point
        known = all(self._layers(each) for each in self._profile_numbers.values())
        return self._warm_point(number) if known else None

    @property
    def looked_at(self) -> Space:
        """The space as far as its coordinates are concerned."""
        return self.ground.space(self.ground.stand_ins)

    def _warm_point(self, number: int, early: bool = False) -> dict[str, float] | None:
        """The coordinates of a warm start; None for one that the space does not hold, or, `early`, of which only its
        result will tell them."""
        if number >= self.first:
            return None
        start = self.ground.warm_starts[number]
        try:
            counts = self.ground.counts_of(start)
            if counts is None and not early:
                counts = self._layers(number)
            return None if counts is None else self.ground.point(self.space, counts, start.sparsity)
        except Inexpressible:
            return None

    def told(self, number: int) -> Told:
        """How a proposal ended, for the study."""
        result = self.result(number)
        if result is None:
            return Told(None)
        return Told(self.values(result), tuple(rung["accuracy"] for rung in result.get("rungs", [])))

    def values(self, result: Result | None) -> tuple[float, ...] | None:
        """The objectives of a result; None unless it has them all, finite."""
        if result is None or result["status"] != "done":
            return None
        found = [result["metrics"].get(objective.metric) for objective in self.search.objectives]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in found):
            return None
        return tuple(float(value) for value in found)

    # Finalists

    @property
    def best(self) -> list[int]:
        """The proposals whose ratios are finalists, the best first, each ratio once."""
        values: dict[int, tuple[float, ...]] = {}
        seen = []
        for number, own in self.all_values.items():
            if (asked := (self.options(number), self.trials[number].trial.sparsity)) not in seen:
                seen.append(asked)
                values[number] = own
        losses = {n: float((self.result(n) or {})["metrics"].get("loss/val", 0.0)) for n in values}
        return best(values, self.ups, losses, max(1, self.search.finalists.best), self.reference)

    @property
    def reference(self) -> list[float]:
        """What a hypervolume is measured over: the worst value of each objective among the warm starts; among all where
        none of these has one."""
        values = self.all_values
        starts = {n: own for n, own in values.items() if n < self.first} or values
        return [(min if up else max)((own[i] for own in starts.values()), default=0.0) for i, up in enumerate(self.ups)]

    @property
    def all_values(self) -> dict[int, tuple[float, ...]]:
        """The objectives of every proposal that has them."""
        found = {number: self.values(self.result(number)) for number in sorted(self.trials)}
        return {number: values for number, values in found.items() if values is not None}

    @property
    def ups(self) -> list[bool]:
        """Of each objective, whether more is better."""
        return [objective.up for objective in self.search.objectives]

    def _choose(self) -> list[Planned]:
        """Decide on the finalists, and on the formulas beside them where the budget is theirs."""
        if self.chosen or self.search.finalists.best == 0:
            return []
        self.chosen = True
        before = set(self.plan.by_id)
        found: list[Decided] = []
        for place, number in enumerate(self.best, start=1):
            trial = self.trials[number].trial
            options = self.options(number)
            found += [self._decided(each, options, number, place)
                      for each in self.ground.finalist(place, options, trial.sparsity)]  # fmt: skip
        if len(self.search.sparsity) == 2:
            sparsities = sorted({self.trials[number].trial.sparsity for number in self.best})
            for name, options in self.ground.formulas.items():
                found += [self._decided(each, options, -1, None)
                          for each in self.ground.formula_trials(name, sparsities)]  # fmt: skip
        self.decisions.choose(found)
        return [planned for planned in self.plan.planned if planned.id not in before]

    def _decided(self, trial: Trial, options: Mapping[str, Any], number: int, place: int | None) -> Decided:
        planned = self._plan(trial)
        # as the file gives it back, so that the same finalists are recognised
        plain = json.loads(json.dumps(dict(options)))
        return Decided(planned.id, planned.chain.key, plain, str(trial.sparsity), number, place, trial.seed)

    def options(self, number: int) -> dict[str, Any]:
        """What chooses a proposal's ratio: of a formula that the network says, what it said."""
        if number in self.decisions.proposals:
            return self.decisions.proposals[number].options
        start = self.ground.warm_starts[number]
        if "ratios" in start.options:
            return dict(start.options)
        if not self.ground.exact:  # proportions: all alike, or what the network says
            names = [layer.name for layer in self.ground.layers]
            return {"ratios": dict.fromkeys(names, 1.0)} if start.source == "uniform" else dict(start.options)
        counts = self.ground.counts_of(start) or self._layers(number)
        if counts is None:
            return dict(start.options)
        layers = zip(self.ground.layers, counts, strict=True)
        return {"ratios": {layer.name: count / layer.weights for layer, count in layers}}
