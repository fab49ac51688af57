"""Searches that a test runs on a study, with what lies on disk as their log."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from optuna.trial import TrialState

from orchestrator.spec.search import Chosen
from orchestrator.sweep.study import Study, Told

SPACE = {"a": (0.0, 1.0), "b": (-3.0, 0.0)}
WARM = [{"a": 0.2, "b": -1.0}, {"a": 0.5, "b": -2.0}]
CONCURRENCY = 2

FEW: dict[str, Any] = {"n_startup_trials": 3}
SAMPLERS: list[tuple[Chosen, int]] = [
    (Chosen(name="tpe", **FEW), 1),
    (Chosen(name="tpe", **FEW), 2),
    (Chosen(name="nsga2", population_size=3), 2),  # type: ignore[call-arg]  options are extra keys
    (Chosen(name="nsga3", population_size=3), 1),  # type: ignore[call-arg]
    (Chosen(name="gp", **FEW), 1),
    (Chosen(name="qmc"), 1),
    (Chosen(name="random"), 2),
    (Chosen(name="cmaes", popsize=4), 1),  # type: ignore[call-arg]
]
ALL = pytest.mark.parametrize(("sampler", "objectives"), SAMPLERS, ids=[f"{s.name}-{n}" for s, n in SAMPLERS])


def outcome(number: int, point: dict[str, float], objectives: int) -> Told:
    """What a proposal of that number comes to; one in four to nothing, each time for another reason."""
    values = (1 - (point["a"] - 0.7) ** 2 + point["b"] / 10, point["a"] + point["b"])[:objectives]
    bad = {
        3: Told(None),
        7: Told((math.nan, 0.5)[:objectives]),
        11: Told((math.inf, 0.5)[:objectives]),
        14: Told(None, (0.1, 0.2)),
        18: Told((*values[:-1], -math.inf)),
    }
    return bad.get(number, Told(values))


class Searching:
    """A search as a sweep does it: proposal n is asked for when 0 to n - 2 are told. Its log is what lies on disk."""

    def __init__(self, sampler: Chosen, objectives: int, seed: int = 0, redraw: Sequence[int] = ()) -> None:
        self.study = Study(SPACE, [True, False][:objectives], sampler, seed)
        self.objectives, self.redraw = objectives, redraw
        self.log: list[str] = []
        self.untold: list[int] = []
        for number, point in enumerate(WARM):
            self.study.begin(number, point, {}, {})
            self.untold.append(number)
            self.log.append(json.dumps([point, {}, {}]))

    def catch_up(self, number: int) -> None:
        for each in [n for n in self.untold if n <= number - CONCURRENCY]:
            point = json.loads(self.log[each])[0]
            self.study.tell(each, outcome(each, point, self.objectives))
            self.untold.remove(each)

    def run(self, until: int) -> Searching:
        for number in range(len(self.log), until):
            self.catch_up(number)
            asked = self.study.ask(number)
            if number in self.redraw:
                asked = self.study.ask(number, draw=1)
            self.log.append(json.dumps(asked))
            self.untold.append(number)
        return self

    def again(self, log: list[str]) -> Searching:
        """Take in proposals that were made before."""
        for number in range(len(self.log), len(log)):
            self.catch_up(number)
            self.study.begin(number, *json.loads(log[number]))
            self.log.append(log[number])
            self.untold.append(number)
        return self


def states(study: Study) -> list[TrialState]:
    return [trial.state for trial in study._study.get_trials(deepcopy=False)]


def length(sampler: Chosen) -> int:
    """Proposals that a test makes: gp takes long over each."""
    return 12 if sampler.name == "gp" else 24


def first_other(one: list[str], other: list[str]) -> int:
    return next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)


def points(log: list[str]) -> list[dict[str, float]]:
    return [json.loads(line)[0] for line in log]
