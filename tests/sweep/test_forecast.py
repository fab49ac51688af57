"""What a sweep is said to take: the stages of a plan, given what pieces of trials take, and the words for it."""

import json

import pytest

from orchestrator.engine.plan import make_plan
from orchestrator.engine.rehearsal import Rehearsal
from orchestrator.engine.rehearser import Piece, Rehearsed, cell_of
from orchestrator.spec.models import Spec
from orchestrator.sweep import forecast
from orchestrator.sweep.forecast import TURN_SECONDS, Costs, examples, left_of, lines

LOTTERY = {"name": "lottery", "fraction": 0.5, "rewind_to": "1ep"}
SPEC = {
    "name": "small", "data": "digits", "model": "convnet", "recipe": {"epochs": 2}, "methods": ["dense", LOTTERY],
    "sparsities": [0.5, 0.75], "seeds": [0, 1], "latency": {"batches": [1, 64], "seconds": 2},
}  # fmt: skip
PIECES = {
    "initialise": Piece("initialise", 1.0),
    "train": Piece("train", 0.5, step=0.1, validation=0.2),
    "compute": Piece("compute", 4.0),
    "evaluate": Piece("evaluate", 0.25, validation=0.2, test=0.3),
    "latency": Piece("latency", 0.125),
}


def spec_and_plan(**changes):
    spec = Spec.model_validate(SPEC | changes)
    return spec, make_plan(spec)


def as_rehearsed(planned, **changes):
    """A trial of which every stage takes what PIECES says."""
    return Rehearsed(tuple((PIECES | changes)[request.kind] for request in planned.chain.requests), around=0.05)


def planned_trial(plan, words):
    return next(planned for planned in plan.planned if words in planned.id)


def test_the_parts_of_a_trial():
    spec, plan = spec_and_plan()
    lottery = planned_trial(plan, "lottery-fraction0.5-1ep_s75_seed1")
    # learnt from the other seed
    cells = {cell_of(lottery.trial): as_rehearsed(lottery)}
    parts = Costs(spec, plan, Rehearsal(cells)).parts(lottery)
    # an epoch of the 1,294 images is 21 steps of 64: 0.5 + 2.1 + 0.2. The first one of the dense training is asked for
    # by itself, and on the way to its end
    epoch = pytest.approx(2.8)
    assert [part.seconds for part in parts] == [
        1.0, epoch, epoch, epoch, 4.0, epoch, 4.0, epoch, pytest.approx(0.75), 4.0, 0.125,
        pytest.approx(0.05 + TURN_SECONDS),
    ]  # fmt: skip
    assert [part.alone for part in parts] == [False] * 9 + [True] + [False] * 2
    assert parts[1].stage == parts[2].stage
    assert parts[3].stage in plan.segments(planned_trial(plan, "dense_seed1"))


def test_latency_takes_what_measuring_it_took_and_once_for_the_dense_structure():
    spec, plan = spec_and_plan()
    cells = {cell_of(each.trial): as_rehearsed(each) for each in plan.planned}
    costs = Costs(spec, plan, Rehearsal(cells, latency={"convnet": 7.0}))
    alone = [part for planned in plan.planned for part in costs.parts(planned) if part.alone]
    assert len(alone) == 6
    assert len({part.stage for part in alone}) == 1
    assert {part.seconds for part in alone} == {7.0}
    own = {cell: Rehearsed(tuple(each.pieces), each.around) for cell, each in cells.items()}
    smaller = planned_trial(plan, "s75_seed0")
    own[cell_of(smaller.trial)] = as_rehearsed(smaller, latency=Piece("latency", 0.1, dense=False))
    alone = [p for each in plan.planned for p in Costs(spec, plan, Rehearsal(own)).parts(each) if p.alone]
    assert len({part.stage for part in alone}) == 3  # the dense one, and one of each seed


def test_in_another_runtime_each_ticket_is_measured():
    spec, plan = spec_and_plan(latency={"batches": [1], "seconds": 2, "runtimes": ["dense", "compact"]})
    cells = {cell_of(each.trial): as_rehearsed(each) for each in plan.planned}
    costs = Costs(spec, plan, Rehearsal(cells, latency={"convnet": 7.0}))
    alone = [part for planned in plan.planned for part in costs.parts(planned) if part.alone]
    assert {part.seconds for part in alone} == {7.0}
    assert len(alone) == 12
    assert len({part.stage for part in alone}) == 1 + 6


def test_of_a_method_that_was_not_gone_through_the_trainings_are_known():
    spec, plan = spec_and_plan()
    dense, lottery = planned_trial(plan, "dense"), planned_trial(plan, "s50")
    costs = Costs(spec, plan, Rehearsal({cell_of(dense.trial): as_rehearsed(dense)}))
    assert sum(part.seconds for part in costs.parts(lottery)) == pytest.approx(4 * 2.8 + 0.75 + 4.0 + 0.1)
    assert costs.unknown == {lottery.trial.arm.label}
    with pytest.raises(LookupError, match="convnet"):
        Costs(spec, plan, Rehearsal()).parts(lottery)


def test_a_trial_of_each_cell_is_gone_through_the_highest_sparsity_first():
    _, plan = spec_and_plan()
    names = [f"{trial.arm.name} {trial.sparsity}" for trial in examples(plan.planned)]
    assert names == ["dense 0", "lottery 0.75", "lottery 0.5"]
    done = [planned.id for planned in plan.planned if "lottery" in planned.id]
    assert [trial.arm.name for trial in examples(left_of(plan.given(done)))] == ["dense"]


@pytest.fixture
def sweep(tmp_path):
    from orchestrator.engine.folder import SweepFolder

    return SweepFolder(tmp_path / "sweep")


@pytest.fixture
def rehearsed(monkeypatch):
    """Every cell takes what PIECES says; two trials fit."""

    def rehearse(spec, trials, processes, seconds):
        plan = make_plan(spec)
        return Rehearsal(
            {cell_of(each.trial): as_rehearsed(each) for each in plan.planned}, {"convnet": 3.0}, start=5.0
        )

    monkeypatch.setattr(forecast, "rehearse", rehearse)
    monkeypatch.setattr(forecast, "local_slots", lambda each, concurrency: min(2, concurrency or 2))


@pytest.mark.usefixtures("rehearsed")
def test_the_forecast_of_a_sweep(sweep):
    spec, plan = spec_and_plan(methods=["dense"], concurrency=1)
    found = forecast.forecast(spec, sweep, plan, planning=2.0)
    # of each seed: initialise 1, two epochs 0.5 + 4.2 + 0.4, evaluate 0.75, latency's record 0.125, around 0.1; and the
    # latency itself once
    assert found["trials_seconds"] == pytest.approx(2 * (1 + 5.1 + 0.75 + 0.125 + 0.1) + 3)
    assert found["start_seconds"] == 2.0 + forecast.RAY_SECONDS + 5.0
    assert found["seconds"] == found["start_seconds"] + found["trials_seconds"] + forecast.END_SECONDS
    assert (found["slots"], found["at_most"], found["not_measured"]) == (1, False, [])
    assert found["networks"]["convnet"] == {
        "step_ms": 100.0, "slowest_step_ms": 100.0, "validation_seconds": 0.2, "latency_seconds": 3.0,
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    first, second = lines(found)
    assert first == (
        "time: about 47 s on this machine with 1 trial at once: 21 s until the first trains, 17 s of trials, slots "
        "busy 100 %, 9 s at the end"
    )
    assert second == "  convnet: a step of training takes 100 ms"


@pytest.mark.usefixtures("rehearsed")
def test_trials_that_a_search_decides_on_are_at_most_so_many(sweep):
    space = {"method": "hybrid", "sparsity": 0.9, "space": "free", "trials": 14, "concurrency": 2}
    spec, plan = spec_and_plan(methods=["dense"], search=space)
    none = {"proposals": 0, "finalists": 0, "epochs_each": 2.0, "epochs": 0.0}
    some = {"proposals": 3, "finalists": 5, "epochs_each": 2.0, "epochs": 16.0}
    without, with_ = (forecast.forecast(spec, sweep, plan, 2.0, each) for each in (none, some))
    # eight, two at a time: two epochs 4.6, and of their own what the stages take but for these
    first = next(planned for planned in plan.planned if planned.trial.search is not None)
    own = sum({**PIECES}[request.kind].own for request in first.chain.requests) + 0.3
    each = 2 * (21 * 0.1 + 0.2) + own + 0.05 + TURN_SECONDS
    assert with_["trials_seconds"] - without["trials_seconds"] == pytest.approx(4 * each)
    assert (without["at_most"], with_["at_most"]) == (False, True)
    assert lines(with_)[0].startswith("time: at most about ")


@pytest.mark.usefixtures("rehearsed")
def test_what_cannot_be_said_is_said_so(sweep, monkeypatch):
    spec, plan = spec_and_plan()
    done = plan.given([planned.id for planned in plan.planned])
    assert forecast.forecast(spec, sweep, done, 2.0) == {"seconds": 0.0, "why": "nothing is left to run"}
    monkeypatch.setattr(forecast, "local_slots", lambda each, concurrency: 0)
    found = forecast.forecast(spec, sweep, plan, 2.0)
    assert lines(found) == ["time: not known, no trial fits this machine: each asks for 1 CPU and 0 GPU"]
    monkeypatch.setattr(forecast, "local_slots", lambda each, concurrency: 2)
    monkeypatch.setattr(forecast, "rehearse", lambda *_: Rehearsal())
    found = forecast.forecast(spec, sweep, plan, 2.0)
    assert found["seconds"] is None
    assert "convnet: no step of training was done within" in found["why"]


def test_words():
    found = {
        "seconds": 3725.0, "start_seconds": 21.4, "trials_seconds": 3600.0, "end_seconds": 9.0, "slots": 2,
        "busy": 0.98, "at_most": True, "processes": 2, "not_measured": ["colt", "fisher"],
        "networks": {"vgg19": {"step_ms": 123.4, "slowest_step_ms": 150.0}, "lenet": {"step_ms": None}},
    }  # fmt: skip
    assert lines(found, cluster=True) == [
        "time: at most about 1 h 2 min on this machine with 2 trials at once: 21 s until the first trains, 1 h 0 min "
        "of trials, slots busy 98 %, 9 s at the end",
        "  vgg19: a step of training takes 123 to 150 ms, measured in 2 processes at once",
        "  not measured, for lack of time or because they need trained weights, so taken as the network's training "
        "alone: colt, fisher",
        "  a cluster's machines may be faster or slower than this one, and hold more trials at once",
    ]
