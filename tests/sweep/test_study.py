"""The same results give the same proposals, also of a study that is made anew on the way."""

from __future__ import annotations

import json
import math

import pytest
from optuna.trial import TrialState
from study_runs import ALL, FEW, SPACE, WARM, Searching, first_other, length, outcome, points, states

from orchestrator.spec.search import Chosen
from orchestrator.sweep import study as study_module
from orchestrator.sweep.choosing import pareto
from orchestrator.sweep.study import OWN_DRAWS, Study, Told


@ALL
def test_same_history_same_proposals(sampler: Chosen, objectives: int) -> None:
    until = length(sampler) - 4
    whole = Searching(sampler, objectives).run(until).log
    assert Searching(sampler, objectives).run(until).log == whole
    for point in points(whole):
        assert all(low <= point[name] <= high for name, (low, high) in SPACE.items())
    other = points(Searching(sampler, objectives, seed=1).run(until).log)
    assert sum(a == b for a, b in zip(points(whole), other, strict=True)) <= len(WARM) + 2  # nsga2 may repeat a parent


@ALL
def test_a_study_made_anew_goes_on_as_the_one_that_never_stopped(sampler: Chosen, objectives: int) -> None:
    until = length(sampler)
    whole = Searching(sampler, objectives, redraw=(6, 9)).run(until).log
    for cut in (2, 5, 7, 10, 13, 20, 23) if until == 24 else (7, 10):
        again = Searching(sampler, objectives, redraw=(6, 9)).again(whole[:cut]).run(until).log
        assert again == whole, f"stopped after {cut}, proposal {first_other(again, whole)} differs"


def test_nothing_pickled_is_noted_of_a_proposal() -> None:
    log = Searching(Chosen(name="cmaes", popsize=4), 1, redraw=(6,)).run(16).log  # type: ignore[call-arg]
    assert [json.loads(line)[1:] for line in log[:2]] == [[{}, {}], [{}, {}]]
    notes = [json.loads(line)[1] for line in log]
    assert any("cma:generation" in key for note in notes for key in note)
    assert not any("optimizer" in key for note in notes for key in note)
    assert notes[6]["draws"] == 1


def test_a_proposal_of_another_version_of_the_sampler_counts_as_it_was_run() -> None:
    sampler = Chosen(name="cmaes", popsize=4)  # type: ignore[call-arg]
    search = Searching(sampler, 1).run(8)
    search.catch_up(8)
    search.study.begin(8, {"a": 0.25, "b": -0.5}, {"cma:generation": 1}, {})
    asked, run = search.study._study.trials[-2:]
    assert (asked.state, run.state) == (TrialState.FAIL, TrialState.RUNNING)
    assert run.params == {"a": 0.25, "b": -0.5}


@pytest.mark.parametrize("up", [True, False])
def test_cmaes_begins_around_the_best_warm_start(up: bool) -> None:
    wide = {"a": (0.0, 10.0), "b": (-100.0, 0.0)}
    warm = [({"a": 2.0, "b": -80.0}, 1.0), ({"a": 8.0, "b": -20.0}, 2.0), ({"a": 5.0, "b": -50.0}, 1.5)]
    study = Study(wide, [up], Chosen(name="cmaes", popsize=20), seed=0)  # type: ignore[call-arg]
    for number, (point, value) in enumerate(warm):
        study.begin(number, point, {}, {})
        study.tell(number, Told((value if up else -value,)))
    asked = [study.ask(number)[0] for number in range(3, 23)]
    for name, best in warm[1][0].items():
        spread = (wide[name][1] - wide[name][0]) / 10
        off = [(point[name] - best) / spread for point in asked]
        assert abs(sum(off)) / len(off) < 4 / len(off) ** 0.5
        assert 0.5 < (sum(x * x for x in off) / len(off)) ** 0.5 < 1.5


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_warm_starts_are_the_first_parents_of_a_genetic_sampler(name: str) -> None:
    warm = [{"a": 0.1, "b": -0.5}, {"a": 0.5, "b": -1.5}, {"a": 0.9, "b": -2.5}]
    study = Study(SPACE, [True], Chosen(name=name, population_size=3, mutation_prob=0.0), seed=0)  # type: ignore[call-arg]
    for number, point in enumerate(warm):
        study.begin(number, point, {}, {})
        study.tell(number, Told((float(number),)))
    asked = [study.ask(number)[0] for number in range(3, 13)]
    assert len({tuple(point.values()) for point in asked}) > 3  # children, not copies alone
    assert {point["a"] for point in asked} <= {0.1, 0.5, 0.9}
    assert {point["b"] for point in asked} <= {-0.5, -1.5, -2.5}


@pytest.mark.parametrize("options", [{}, {"use_separable_cma": True}], ids=str)
def test_the_step_of_cmaes_is_the_users(options: dict[str, bool]) -> None:
    sampler = Chosen(name="cmaes", sigma0=1e-6, **options)  # type: ignore[call-arg, arg-type]
    study = Study(SPACE, [True], sampler, seed=0)
    study.begin(0, WARM[0], {}, {})
    study.tell(0, Told((1.0,)))
    assert study.ask(1)[0] == pytest.approx(WARM[0], abs=1e-3)


def test_what_an_earlier_draw_noted_of_the_study_is_kept() -> None:
    """nsga2 notes a generation's parents once: at whichever draw needs them first."""
    search = Searching(Chosen(name="nsga2", population_size=3), 2).run(5)  # type: ignore[call-arg]
    number = 5
    while True:
        search.catch_up(number)
        noted = search.study.ask(number)[2]
        if noted:
            break
        search.log.append(json.dumps(search.study.ask(number, draw=1)))
        search.untold.append(number)
        number += 1
    assert search.study.ask(number, draw=1)[2] == noted


@pytest.mark.parametrize(
    "sampler", [Chosen(name="gp", **FEW), Chosen(name="cmaes", popsize=4), Chosen(name="qmc")], ids=str
)  # type: ignore[call-arg]
def test_a_sampler_that_repeats_itself_gives_way_to_random_points(sampler: Chosen) -> None:
    whole, random = (Searching(own, 1).run(8) for own in (sampler, Chosen(name="random")))
    for search in (whole, random):
        search.catch_up(8)
        asked = [search.study.ask(8, draw) for draw in range(OWN_DRAWS + 2)]
        assert asked[-1][0] != asked[-2][0]
        search.log.append(json.dumps(asked[-1]))
        search.untold.append(8)
    assert points(whole.log)[8] == points(random.log)[8]
    again = Searching(sampler, 1).again(whole.log[:9]).run(11).log
    assert again == whole.run(11).log


def test_proposals_depend_on_the_results() -> None:
    sampler = Chosen(name="tpe", **FEW)
    one, other = Searching(sampler, 1).run(10), Searching(sampler, 1).run(10)
    one.study.tell(8, Told((0.1,)))
    other.study.tell(8, Told((9.0,)))
    assert one.study.ask(10)[0] != other.study.ask(10)[0]


@pytest.mark.parametrize(
    "told", [Told(None), Told((math.nan,)), Told((math.inf,)), Told((-math.inf,))], ids=lambda told: str(told.values)
)
def test_a_result_without_a_finite_value_fails(told: Told) -> None:
    study = Study(SPACE, [True], Chosen(name="random"), 0)
    study.ask(0)
    assert states(study) == [TrialState.RUNNING]
    study.tell(0, told)
    assert states(study) == [TrialState.FAIL]
    assert study.told == 1


def test_a_result_is_complete_with_its_value() -> None:
    study = Study(SPACE, [True], Chosen(name="random"), 0)
    study.ask(0)
    study.tell(0, Told((0.25,), (0.1,)))
    (trial,) = study._study.trials
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.25])


def test_one_that_was_stopped_at_a_rung_is_pruned_with_what_it_was_there() -> None:
    study = Study(SPACE, [True], Chosen(name="random"), 0)
    study.ask(0)
    study.tell(0, Told(None, (0.25, 0.5)))
    (trial,) = study._study.trials
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {0: 0.25, 1: 0.5})


def test_with_two_objectives_one_that_was_stopped_fails() -> None:
    study = Study(SPACE, [True, False], Chosen(name="nsga2"), 0)
    study.ask(0)
    study.tell(0, Told(None, (0.25, 0.5)))
    assert states(study) == [TrialState.FAIL]


def test_one_value_of_two_that_is_not_finite_fails() -> None:
    study = Study(SPACE, [True, False], Chosen(name="nsga2"), 0)
    study.ask(0)
    study.tell(0, Told((0.5, math.nan)))
    assert states(study) == [TrialState.FAIL]


def test_another_draw_takes_the_place_of_the_first() -> None:
    study = Study(SPACE, [True], Chosen(name="random"), 0)
    first = study.ask(0)[0]
    second = study.ask(0, draw=1)[0]
    third = study.ask(0, draw=2)[0]
    assert len({str(first), str(second), str(third)}) == 3
    assert states(study) == [TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING]
    study.tell(0, Told((0.5,)))
    assert states(study) == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    assert study._study.trials[2].params == third


def test_one_that_was_never_begun_is_taken_in_with_its_point() -> None:
    study = Study(SPACE, [True], Chosen(name="tpe"), 0)
    study.tell(0, Told((0.5,)), WARM[0])
    study.tell(1, Told((0.9,)))  # the space does not hold it
    (trial,) = study._study.trials
    assert (trial.params, trial.values, trial.user_attrs) == (WARM[0], [0.5], {"proposal": 0})


# A study that has grown long begins anew


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """From proposal 12 on, every 4: the 3 best and the latest 5 results, and what is running."""
    for name, value in {"MOST": 12, "BEST": 3, "STEP": 4}.items():
        monkeypatch.setattr(study_module, name, value)


def held(study: Study) -> dict[int, int]:
    """The study's trials: position -> proposal, of those whose proposal is known."""
    return {at: number for number, at in study._at.items()}


@pytest.mark.parametrize("objectives", [1, 2])
def test_a_long_study_holds_the_best_and_the_latest(short: None, objectives: int) -> None:
    search = Searching(Chosen(name="tpe", **FEW), objectives)
    for number in range(len(WARM), 31):
        search.run(number + 1)
        assert sum(state is not TrialState.RUNNING for state in states(search.study)) <= 12
    told = {n: outcome(n, points(search.log)[n], objectives) for n in range(27)}  # as proposal 28 was made
    good = {n: t.values for n, t in told.items() if t.finite}
    best = sorted(good, key=lambda n: -good[n][0])[:3]
    if objectives == 2:  # both ends of the Pareto set stay, though one is not good in the first objective
        front = pareto(good, search.study._ups)
        best = [*front[:: len(front) // 3 + 1], *best][:3]
        assert len(front) > 2
    assert set(best) | set(range(22, 27)) <= set(held(search.study).values())
    assert set(held(search.study).values()) == set(best) | set(range(22, 31))


def test_the_best_of_a_long_study_that_goes_down(short: None) -> None:
    study = Study({"a": (0.0, 1.0)}, [False], Chosen(name="random"), 0)
    for number in range(16):
        study.ask(number)
        if number < 15:
            study.tell(number, Told((abs(number - 2.0),)))
    study.ask(16)
    # the least of |n - 2| among 0 to 14: 2, then 1 and 3; the latest five 10 to 14; 15 is running
    assert sorted(study._at) == [1, 2, 3, 10, 11, 12, 13, 14, 15, 16]


@pytest.mark.parametrize(
    ("sampler", "objectives"), [(Chosen(name="tpe", **FEW), 1), (Chosen(name="tpe", **FEW), 2), (Chosen(name="gp"), 1)]
)
def test_a_long_study_made_anew_goes_on_alike(short: None, sampler: Chosen, objectives: int) -> None:
    whole = Searching(sampler, objectives, redraw=(15, 16)).run(30).log
    for cut in (11, 12, 13, 16, 17, 25):
        assert Searching(sampler, objectives, redraw=(15, 16)).again(whole[:cut]).run(30).log == whole, cut


@pytest.mark.parametrize("name", ["nsga2", "qmc"])
def test_samplers_that_need_every_trial_keep_them(short: None, name: str) -> None:
    assert len(Searching(Chosen(name=name), 1).run(30).study._study.trials) == 30


@pytest.mark.parametrize("name", ["tpe", "nsga2", "nsga3", "gp", "qmc", "random"])
def test_what_is_said_to_do_two_objectives_does(name: str) -> None:
    """Those that the refusal of cmaes names."""
    found = Searching(Chosen(name=name), 2).run(6)
    assert len(found.log) == 6
