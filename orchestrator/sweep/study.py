"""The Optuna study of a search: what the sampler is told, and what it proposes.

It is made anew from the results on disk whenever a search goes on, so it keeps no state of its own: each proposal's
sampler is a fresh one, seeded by the search's seed and the proposal's number, and what it notes of trials and study is
part of the recorded proposal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engine.seeds import derive
from orchestrator.spec.search import Chosen
from orchestrator.sweep.choosing import pareto
from orchestrator.sweep.samplers import make, sampler_class

if TYPE_CHECKING:
    import optuna

ONE_SEQUENCE = ("QMCSampler",)
"""Whose draws are one sequence from one seed; the study holds the place in it."""
WHOLE_HISTORY = ("NSGAIISampler", "NSGAIIISampler", "CmaEsSampler", "QMCSampler")
"""Whose generations or sequence need every trial."""
REPLAYED, PICKLED = ("CmaEsSampler",), ":optimizer"
"""Who notes its state as a pickle, under such a name: it is not kept, for nothing is unpickled from a sweep's folder,
and its proposals are asked for again."""
DRAWS = "draws"
"""The note of how many draws were made for a proposal before the one that stands, where there were any."""
WARM_SIGMA = 0.1
"""The step size of CMA-ES, over each coordinate's range, at first around a known point: alpha of Nomura et al., AAAI
2021."""
OWN_DRAWS = 10
"""So many draws for a proposal are the sampler's; further ones are uniform in the coordinates: gp, and any other that
looks for the one best point, gives the same point again when it is asked again."""

MOST, BEST, STEP = 300, 100, 50
"""From proposal number MOST on, every STEP proposals the study begins anew with the BEST best and the latest results,
so that it never holds more than MOST results: TPE's time for a proposal grows with what it is told."""


@dataclass(frozen=True)
class Told:
    """How a proposal ended: values, or none for one that failed; what it was at the rungs, if it was stopped at one."""

    values: tuple[float, ...] | None
    rungs: tuple[float, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether there are values to learn from."""
        return self.values is not None and all(map(math.isfinite, self.values))


class Study:
    """Proposals by number. Coordinates are uniform ranges; `ups`: of each objective, whether more is better."""

    def __init__(
        self, coordinates: Mapping[str, tuple[float, float]], ups: Sequence[bool], sampler: Chosen, seed: int
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = {
            name: optuna.distributions.FloatDistribution(low, high) for name, (low, high) in coordinates.items()
        }
        self._ups, self._sampler, self._seed = list(ups), sampler, seed
        self._class = sampler_class(sampler, len(self._ups))
        self._running: dict[int, tuple[dict[str, float], dict[str, Any]]] = {}
        self._told: dict[int, tuple[dict[str, float], Told, dict[str, Any]]] = {}
        self._study, self._at = self._new(), dict[int, int]()
        self._attrs, self._noted = dict[str, Any](), dict[str, Any]()

    @property
    def told(self) -> int:
        """How many results the study has been told of."""
        return len(self._told)

    def begin(
        self, number: int, point: Mapping[str, float], attrs: Mapping[str, Any], study_attrs: Mapping[str, Any]
    ) -> None:
        """Take in a proposal that was made before, or that is no sampler's."""
        import optuna

        self._shorten(number)
        for name, value in study_attrs.items():
            self._study._storage.set_study_system_attr(self._study._study_id, name, value)
        self._attrs |= study_attrs
        if attrs and self._class.__name__ in REPLAYED:
            for draw in range(attrs.get(DRAWS, 0) + 1):
                self.ask(number, draw)
            if self._running[number][0] == point:
                return
            self._end(self._study, self._at[number], Told(None))  # another version of it: what was run counts
        else:
            for _ in range(attrs.get(DRAWS, 0)):  # samplers go by the trials' numbers
                self._study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
        self._running[number] = (dict(point), dict(attrs))
        self._add(self._study, number, *self._running[number])

    def ask(self, number: int, draw: int = 0) -> tuple[dict[str, float], dict[str, Any], dict[str, Any]]:
        """A proposal: its coordinates, and what the sampler notes of it and, new, of the study. Another `draw` takes
        the place of the one before; from OWN_DRAWS on it is a random point."""
        if draw:
            self._running.pop(number)
            self._end(self._study, self._at[number], Told(None))
        else:
            self._shorten(number)
            self._noted = {}
        before, self._study.sampler = self._study.sampler, self._drawing(number, draw)
        if hasattr(before, "_search_space"):  # which coordinates all trials have: going through them takes longest
            self._study.sampler._search_space = before._search_space
        trial = self._study.ask(self._space)
        storage = self._study._storage
        said = storage.get_trial(trial._trial_id).system_attrs
        attrs = {name: value for name, value in said.items() if PICKLED not in name}
        attrs |= {DRAWS: draw} if draw else {}
        after = storage.get_study_system_attrs(self._study._study_id)
        noted = {name: value for name, value in after.items() if self._attrs.get(name) != value}
        self._attrs |= noted
        self._noted |= noted  # by the draws before too
        self._running[number] = (dict(trial.params), attrs)
        self._at[number] = trial.number
        return dict(trial.params), attrs, dict(self._noted)

    def _drawing(self, number: int, draw: int) -> Any:
        """The sampler of a draw."""
        import optuna

        seed = derive(self._seed, "proposal", number, draw) % 2**32
        if draw >= OWN_DRAWS:
            return optuna.samplers.RandomSampler(seed=seed)
        own = self._seed % 2**32 if self._class.__name__ in ONE_SEQUENCE else seed
        return make(self._class, self._sampler, own, **self._start())

    def _start(self) -> dict[str, Any]:
        """Where CMA-ES begins: at the best of the warm starts. By itself it begins in the middle of the space, and
        looks at its own proposals alone."""
        from optuna.trial import TrialState

        if self._class.__name__ != "CmaEsSampler":
            return {}
        ended = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        found = [trial for trial in ended if not trial.system_attrs]  # a sampler notes something of each of its own
        if not found:
            return {}
        best = (max if self._ups[0] else min)(found, key=lambda trial: trial.values[0])
        return {"x0": best.params, "sigma0": WARM_SIGMA}

    def tell(self, number: int, told: Told, point: Mapping[str, float] | None = None) -> None:
        """How a proposal ended. `point`: of one that was never begun, because it was not known."""
        if number not in self._running:
            if point is None:
                return
            self.begin(number, point, {}, {})
        known, attrs = self._running.pop(number)
        self._told[number] = (known, told, attrs)
        self._end(self._study, self._at[number], told)

    def _new(self) -> optuna.Study:
        import optuna

        directions = ["maximize" if up else "minimize" for up in self._ups]
        return optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))

    def _add(self, study: optuna.Study, number: int, point: dict[str, float], attrs: dict[str, Any]) -> None:
        import optuna

        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=point,
                distributions=self._space,
                system_attrs=attrs or self._first_generation,
                user_attrs={"proposal": number},
            )
        )
        self._at[number] = len(study.get_trials(deepcopy=False)) - 1

    @property
    def _first_generation(self) -> dict[str, Any]:
        """What makes a warm start one of the first parents of a genetic sampler: it knows its trials by a note."""
        from optuna.samplers import BaseGASampler

        return {self._class._get_generation_key(): 0} if issubclass(self._class, BaseGASampler) else {}

    def _end(self, study: optuna.Study, at: int, told: Told) -> None:
        """A failed one teaches nothing; one that was stopped at a rung what it was there, where there is one objective:
        with two Optuna takes no such trial."""
        from optuna.trial import TrialState

        trial_id = study.get_trials(deepcopy=False)[at]._trial_id
        if told.finite:
            study.tell(at, list(told.values or ()))
        elif told.rungs and len(self._ups) == 1:
            for step, value in enumerate(told.rungs):
                study._storage.set_trial_intermediate_value(trial_id, step, value)
            study.tell(at, state=TrialState.PRUNED)
        else:
            study.tell(at, state=TrialState.FAIL)

    def _shorten(self, number: int) -> None:
        """Begin a study of the best and the latest results, where there are too many. Which they are depends on the
        proposal's number alone."""
        if self._class.__name__ in WHOLE_HISTORY or number < MOST or number % STEP:
            return
        self._study, self._at = self._new(), {}
        for each in self._kept():
            point, told, attrs = self._told[each]
            self._add(self._study, each, point, attrs)
            self._end(self._study, self._at[each], told)
        for each, (point, attrs) in self._running.items():
            self._add(self._study, each, point, attrs)

    def _kept(self) -> list[int]:
        """The best and the latest, in their order: of two objectives the Pareto set, thinned evenly, then the best by
        the first one."""
        good = [n for n, (_, told, _) in self._told.items() if told.finite]
        values = {n: self._told[n][1].values or () for n in good}
        front = pareto(values, self._ups) if len(self._ups) > 1 else []
        thinned = front[:: len(front) // BEST + 1]
        best = list(dict.fromkeys([*thinned, *sorted(good, key=lambda n: -self._signed(n))]))[:BEST]
        latest = sorted(self._told)[-(MOST - BEST - STEP) :]
        return sorted({*best, *latest})

    def _signed(self, number: int) -> float:
        values = self._told[number][1].values
        assert values is not None
        return values[0] if self._ups[0] else -values[0]
