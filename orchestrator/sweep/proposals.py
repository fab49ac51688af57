"""The proposals of a search: what was decided on, how it ended, and where it lies in the space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

from orchestrator.engine.decisions import Decisions
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned, plan_trial
from orchestrator.engine.results import FINAL
from orchestrator.engine.search import Ground
from orchestrator.engine.setting import Setting
from orchestrator.engine.trials import Trial
from orchestrator.spec.models import Spec
from orchestrator.sweep.choosing import best
from search_spaces.space import Inexpressible, Space

Result = Mapping[str, Any]


class Proposals:
    """The proposals of a spec's search in a sweep's folder. What was decided on in earlier runs is in the plan at
    once."""

    def __init__(self, spec: Spec, folder: SweepFolder, plan: Plan) -> None:
        assert spec.search is not None
        self.spec, self.search, self.folder, self.plan = spec, spec.search, folder, plan
        self.setting = Setting(spec, spec.model[0])
        self.ground = Ground(self.setting)
        self.decisions = Decisions(folder.path, self.ground.definition)
        self.ended: set[int] = set()
        """Proposals that have come to an end in this run, well or not."""
        self.over: str | None = None
        """Why no proposal is made any more, although not all were."""
        self._results: dict[int, Result | None] = {}
        self._fill()

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
                self.take(self.ground.proposal(decided.number, decided.options, Decimal(decided.sparsity)))

    def take(self, trial: Trial) -> Planned:
        """Plan a trial that was decided on; one that has a result is done."""
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
    def ups(self) -> list[bool]:
        """Of each objective, whether more is better."""
        return [objective.up for objective in self.search.objectives]

    def values(self, result: Result | None) -> tuple[float, ...] | None:
        """The objectives of a result; None unless it has them all, finite."""
        if result is None or result["status"] != "done":
            return None
        found = [result["metrics"].get(objective.metric) for objective in self.search.objectives]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in found):
            return None
        return tuple(float(value) for value in found)

    @property
    def all_values(self) -> dict[int, tuple[float, ...]]:
        """The objectives of every proposal that has them."""
        found = {number: self.values(self.result(number)) for number in sorted(self.trials)}
        return {number: values for number, values in found.items() if values is not None}

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
        counts = self.ground.counts_of(start) or self.layers_of(number)
        if counts is None:
            return dict(start.options)
        layers = zip(self.ground.layers, counts, strict=True)
        return {"ratios": {layer.name: count / layer.weights for layer, count in layers}}

    def layers_of(self, number: int) -> list[int] | None:
        """What a proposal's ticket keeps in each layer."""
        result = self.result(number)
        if result is None or not result["layers"] or not self.ground.exact:
            return None
        kept = {layer["name"]: layer["kept"] for layer in result["layers"]}
        return [kept[layer.name] for layer in self.ground.layers]

    @cached_property
    def profile_numbers(self) -> dict[str, int]:
        """The warm starts whose results the space is made from."""
        sources = {start.source: number for number, start in enumerate(self.ground.warm_starts[: self.first])}
        return {name: sources.get(name, -1) for name in self.ground.profiles}  # -1: never tried

    @cached_property
    def space(self) -> Space:
        """The space, once the results that it is made from are known."""
        return self.ground.space({name: self.layers_of(number) or [] for name, number in self.profile_numbers.items()})

    @property
    def looked_at(self) -> Space:
        """The space as far as its coordinates are concerned."""
        return self.ground.space(self.ground.stand_ins)

    def point(self, number: int) -> dict[str, float] | None:
        """A proposal's coordinates, as far as they are known."""
        if number in self.decisions.proposals:
            return self.decisions.proposals[number].point
        known = all(self.layers_of(each) for each in self.profile_numbers.values())
        return self.warm_point(number) if known else None

    def warm_point(self, number: int, early: bool = False) -> dict[str, float] | None:
        """The coordinates of a warm start; None for one that the space does not hold, or, `early`, of which only its
        result will tell them."""
        if number >= self.first:
            return None
        start = self.ground.warm_starts[number]
        try:
            counts = self.ground.counts_of(start)
            if counts is None and not early:
                counts = self.layers_of(number)
            return None if counts is None else self.ground.point(self.space, counts, start.sparsity)
        except Inexpressible:
            return None
