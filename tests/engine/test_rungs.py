"""The rungs of a trial lie on its way: what they look at is what the full training passes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from methods.rungs import validation_accuracy
from methods.step import Step
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Planned, make_plan
from orchestrator.engine.rungs import measure_rung, rung_cuts
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Watch
from orchestrator.spec.models import Spec

AT_ONCE, ONE, ODD = Step(Decimal(0), "ep"), Step(Decimal(1), "ep"), Step(Decimal(2), "it")
RUNGS = (AT_ONCE, ODD, ONE)
METHODS: list[Any] = ["random", {"name": "lottery", "rewind_to": "1ep", "fraction": 0.9}]


class Trying:
    """One trial of a spec of 3 epochs of 6 steps, in its own folder."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.folder = SweepFolder(folder)
        self.folder.prepare()
        self.setting, self.plan = Setting(spec, spec.model[0]), make_plan(spec)
        self.events: list[dict[str, Any]] = []

    @property
    def planned(self) -> Planned:
        (planned,) = self.plan.planned
        return planned

    def watch(self, rungs: tuple[Step, ...] = ()) -> Watch:
        found = Watch(trial=self.planned.id, tell=self.events.append, **self.plan.instructions(self.planned))
        found.cuts = rung_cuts(found, self.setting, self.planned.trial, rungs)
        return found

    def rung(self, until: Step) -> dict[str, Any]:
        return measure_rung(self.folder, self.setting, self.planned.trial, self.watch(RUNGS), until)

    def finish(self, rungs: tuple[Step, ...]) -> dict[str, Any]:
        trial, key = self.planned.trial, self.planned.chain.key
        result = run_trial(self.folder, self.setting, trial, key, self.watch(rungs))
        assert result["status"] == "done", result["error"]
        return result

    @property
    def steps(self) -> int:
        """Training steps of all stages in the store."""
        store = self.folder.store
        metas = [store.meta(key) or {} for key in store.stages()]
        return sum(meta["steps"] for meta in metas if meta["kind"] == "train")


@pytest.fixture
def trying(make_spec: Callable[..., Spec], tmp_path: Path) -> Callable[..., Trying]:
    def make(name: str, method: Any = "random") -> Trying:
        return Trying(tmp_path / name, make_spec({"epochs": 3}, methods=[method]))

    return make


def test_the_rung_at_once_is_the_masked_start_with_its_averages_measured(trying: Callable[..., Trying]) -> None:
    made = trying("one")
    rung = made.rung(AT_ONCE)
    assert rung["epochs"] == 0
    trial = made.planned.trial
    bench = TrialBench(
        made.setting, trial.method_class, trial.seed, trial.sparsity, made.folder.store, torch.device("cpu"), Watch()
    )
    ticket = trial.method.find(bench)
    weights = bench.value(ticket.weights.key)
    masks = bench.masks(ticket.masks, weights)
    wanted = validation_accuracy(bench, weights, masks, recalibrate=True)["accuracy"].item()
    assert rung["accuracy"] == wanted
    assert wanted != validation_accuracy(bench, weights, masks, recalibrate=False)["accuracy"].item()


@pytest.mark.parametrize("method", METHODS, ids=["from the start", "rewound"])
def test_a_rung_is_what_the_full_training_passes(trying: Callable[..., Trying], method: Any) -> None:
    made, alone = trying("rungs", method), trying("alone", method)
    rungs = [made.rung(step) for step in RUNGS]
    assert [rung["epochs"] for rung in rungs] == [0, 2 / 6, 1]
    with_rungs, without = made.finish(RUNGS), alone.finish(())
    assert with_rungs["metrics"]["accuracy/val"] == without["metrics"]["accuracy/val"]
    # the rungs count epochs from where the ticket starts, the history from where training does
    start = made.planned.chain.trainings[-1].start // 6
    at_one = [epoch["accuracy/val"] for epoch in without["history"] if epoch["epoch"] == start + 1]
    assert at_one == [rungs[-1]["accuracy"]]


@pytest.mark.parametrize("method", METHODS, ids=["from the start", "rewound"])
def test_nothing_is_trained_twice(trying: Callable[..., Trying], method: Any) -> None:
    made, alone = trying("rungs", method), trying("alone", method)
    for step in RUNGS:
        made.rung(step)
    made.finish(RUNGS)
    alone.finish(())
    assert made.steps == alone.steps == made.planned.epochs * 6


def test_a_rung_that_was_measured_is_read(trying: Callable[..., Trying]) -> None:
    made = trying("one")
    first = made.rung(ONE)
    made.events.clear()
    assert made.rung(ONE) == first
    assert made.events == []


def test_cuts_are_the_rungs_within_the_tickets_own_training(trying: Callable[..., Trying]) -> None:
    rewound = {"name": "lottery", "rewind_to": "1ep", "fraction": 0.9}
    made = trying("one", rewound)
    own = made.planned.chain.trainings[-1]
    assert (own.start, own.until) == (6, 18)
    plain = made.watch().cuts
    found = made.watch((AT_ONCE, ODD, ONE, Step(Decimal(2), "ep"))).cuts
    # 0ep is its start, 2ep its end
    assert found == {**plain, own.run: [8, 12, 18]}
    assert plain[own.run] == [18]
