"""A search over layer-wise ratios while a sweep runs: which proposal is next, given exactly which results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from orchestrator.engine.decisions import Decided
from orchestrator.engine.files import digest
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned, plan_trial
from orchestrator.engine.results import FINAL
from orchestrator.engine.trials import Trial
from orchestrator.spec.models import Spec
from orchestrator.sweep.proposals import Proposals
from orchestrator.sweep.study import Study, Told

DRAWS = 20
"""So many draws are made for a proposal that was not tried before."""
HOPELESS = 5
"""So many proposals in a row from the first that all fail end the search: the next would fail too."""
TIME = "search.max_hours"
"""What a search was ended by, where time was up: another run of the same spec does not begin it again."""


class RatioSearch(Proposals):
    """Decides on trials as their results come in: proposals, then the finalists.

    Proposal n is made from exactly the results 0 to n - c (c: the spec's `concurrency`), told in the order of their
    numbers, whichever ended first."""

    def __init__(self, spec: Spec, folder: SweepFolder, plan: Plan, hours: Callable[[], float] = lambda: 0.0) -> None:
        """`hours`: since the command was started."""
        super().__init__(spec, folder, plan)
        self._hours = hours
        self.seconds: list[float] = []
        """What each proposal of this run took the driver."""

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

    def _next(self) -> Planned | None:
        """The next proposal, if all that it is made from is known."""
        if self.proposed:
            return None
        number = self.number
        needed = range(number - self.search.concurrency + 1)
        if not all(map(self.known, needed)) or not all(map(self.known, self.profile_numbers.values())):
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
        planned = self.take(self.ground.proposal(number, options, sparsity))
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
        # what only a result tells is added when the study is told it, so that resuming refuses the same draws
        early = {n for n in range(self.first) if self.ground.counts_of(self.ground.warm_starts[n]) is not None}
        options = {number: self.options(number) for number in self.trials if number >= self.first or number in early}
        return {
            self._named(own, self.trials[number].trial.sparsity) for number, own in options.items() if "ratios" in own
        }

    def _why_over(self, needed: Sequence[int]) -> str | None:
        limit = self.search.max_hours
        if limit is not None and (self._hours() > limit or self.decisions.hours == limit):
            return f"{TIME}: {limit:g} is over"
        if len(needed) >= HOPELESS and not any(map(self.result, needed)):
            return f"the first {len(needed)} proposals all failed, see `jackpot logs {self.trials[0].id}`"
        if missing := [n for n in self.profile_numbers if not self.layers_of(self.profile_numbers[n])]:
            return f"the space {self.search.space.name} is made from {missing[0]}, whose trial has no ticket"
        return None

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
            self.study.tell(each, self.told(each), self.warm_point(each))
            if each < self.first and "ratios" in (options := self.options(each)):
                self._tried.add(self._named(options, self.trials[each].trial.sparsity))
            self._untold.remove(each)
        for each in range(max(0, until), self.first):
            if each not in self._begun and (point := self.warm_point(each, early=True)) is not None:
                self._begun.add(each)
                self.study.begin(each, point, {}, {})

    @cached_property
    def _untold(self) -> list[int]:
        return list(range(self.search.trials))

    @cached_property
    def _begun(self) -> set[int]:
        return set()

    def told(self, number: int) -> Told:
        """How a proposal ended, for the study."""
        result = self.result(number)
        if result is None:
            return Told(None)
        return Told(self.values(result), tuple(rung["accuracy"] for rung in result.get("rungs", [])))

    chosen = False
    """Whether the finalists are decided on."""

    def _choose(self) -> list[Planned]:
        """Decide on the finalists, and on the formulas beside them where the budget is theirs."""
        if self.chosen:
            return []
        limit = self.search.max_hours if self.over is not None and self.over.startswith(TIME) else None
        if self.search.finalists.best == 0:
            self.decisions.choose([], limit)
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
        self.decisions.choose(found, limit)
        return [planned for planned in self.plan.planned if planned.id not in before]

    def _decided(self, trial: Trial, options: Mapping[str, Any], number: int, place: int | None) -> Decided:
        planned = self.take(trial)
        # as the file gives it back, so that the same finalists are recognised
        plain = json.loads(json.dumps(dict(options)))
        return Decided(planned.id, planned.chain.key, plain, str(trial.sparsity), number, place, trial.seed)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to decide on."""
        return self.complete and (self.search.finalists.best == 0 or self.chosen)

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

    @property
    def undecided(self) -> int:
        """How many trials are still to be decided on, at most."""
        left = 0 if self.over else max(0, self.search.trials - self.number)
        return left + (0 if self.finished else self.search.finalists.best * len(self.search.finalists.seeds))

    def forecast(self) -> dict[str, Any]:
        """What is still to be decided on: how many trials of how many epochs, what others share left out."""
        any_ratio = {"ratios": {layer.name: 1 / (i + 2) for i, layer in enumerate(self.ground.layers)}}
        some = plan_trial(self.setting, self.ground.proposal(self.number, any_ratio, self.search.sparsity[0]))
        shared = {key for planned in self.trials.values() for key in self.plan.segments(planned)}
        each = float(sum(e for key, e in self.plan.lengths(some).items() if key not in shared))
        best = min(self.search.finalists.best, self.search.trials)
        finalists = 0 if self.settled else best * len(self.search.finalists.seeds)
        proposals = 0 if self.over else max(0, self.search.trials - self.number)
        return {
            "proposals": proposals,
            "finalists": finalists,
            "epochs_each": each,
            "epochs": each * (proposals + finalists),
        }
