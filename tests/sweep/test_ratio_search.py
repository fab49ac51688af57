"""What a search decides on, given which results: made-up results, a real plan, no Ray."""

import json
from decimal import Decimal

import optuna
import pytest

from methods.ratio_file import read_ratios
from methods.ratios import given_counts
from orchestrator.engine.files import read_sealed, write_sealed
from orchestrator.engine.results import planned_results
from orchestrator.sweep.search_files import write_all


def test_every_proposal_keeps_exactly_the_budget_and_is_a_new_one(start):
    sweep = start().run()
    budget = sweep.search.ground.kept(Decimal("0.9"))
    kept = [tuple(c for c, _ in sweep.counts(planned)) for planned in sweep.search.trials.values()]
    assert len(kept) == 14
    assert {sum(each) for each in kept} == {budget}
    assert all(min(each) >= 1 for each in kept)
    assert len(set(kept)) == 14


def test_what_is_proposed_does_not_depend_on_which_trial_ends_first(start):
    one, other = start("one").run(seed=1), start("other").run(seed=2)
    assert one.points == other.points
    assert len(one.points) == 14 - 5  # after uniform, erk, smart, lamp and magnitude
    assert start("another", seed=1).run(seed=1).points != one.points


@pytest.mark.parametrize("sampler", ["tpe", {"name": "nsga2", "population_size": 4}, "qmc", "random"])
@pytest.mark.parametrize("objectives", [["accuracy/val"], ["accuracy/val", "macs"]])
def test_a_search_that_is_cut_off_goes_on_as_if_nothing_had_been(start, sampler, objectives):
    whole = start("whole", sampler=sampler, objectives=objectives).run()
    for cut in (1, 6, 7, 11):
        name = f"cut{cut}"
        start(name, sampler=sampler, objectives=objectives).run(until=cut, seed=cut)
        again = start(name, sampler=sampler, objectives=objectives).run(seed=cut)
        assert again.points == whole.points, cut
        assert {n: p.id for n, p in again.search.trials.items()} == {n: p.id for n, p in whole.search.trials.items()}


def test_proposals_take_the_training_seeds_in_turn(start):
    sweep = start(seeds=3).run()
    assert [sweep.search.trials[n].trial.seed for n in range(14)] == [n % 3 for n in range(14)]
    assert {p.trial.seed for p in sweep.plan.planned if p.trial.search is None} == {7, 8}


def test_a_proposal_waits_for_the_result_it_is_made_from_and_no_longer(start):
    sweep = start(concurrency=2)
    first, second = sweep.proposals(2)
    assert (first.trial.search, second.trial.search) == (0, 1)
    for planned in sweep.proposals(5):  # the warm starts, all but the last two
        if planned.trial.search < 3:
            sweep.finish(planned)
    assert sweep.search.number == 5
    three, four = sweep.proposals(2)
    sweep.finish(four)
    assert sweep.search.number == 5  # made from 0 to 3, and 3 is not in
    sweep.finish(three)
    assert sweep.search.number == 7  # 5 from 0 to 3, 6 from 0 to 4; 7 wants 5
    five, six = sweep.proposals(2)
    sweep.finish(six)
    assert sweep.search.number == 7
    sweep.finish(five)
    assert sweep.search.number == 9


def test_a_failed_proposal_teaches_nothing_and_is_tried_again_by_the_next_run(start):
    sweep = start().run(until=7)
    victim = sweep.proposals(1)[0]
    sweep.finish(victim, status="failed")
    sweep.run()
    write_all(sweep.search)
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{sweep.folder.path}/search/study.db")
    states = [trial.state.name for trial in study.trials]
    assert states.count("FAIL") == 1
    assert states.count("COMPLETE") == 13
    again = start()
    assert [planned.id for planned in again.proposals(9)] == [victim.id]
    assert not again.search.complete
    before = again.points
    again.run()
    assert again.points == before == sweep.points  # what was proposed stays, and all results with it
    assert again.search.complete


def test_a_result_without_its_objective_fails_and_does_not_stop_the_search(start):
    sweep = start().run(until=6)
    for value in (float("nan"), None):
        sweep.finish(sweep.proposals(1)[0], **{"accuracy/val": value})
    sweep.run()
    assert len(sweep.search.all_values) == 12
    assert sweep.search.complete


def test_a_search_grows_and_one_defined_otherwise_begins_anew(start):
    short = start().run()
    assert len(planned_of(short)) == 14
    longer = start(trials=18).run()
    assert {n: longer.points[n] for n in short.points} == short.points
    assert len(longer.points) == 18 - 5
    other = start(trials=18, sampler="qmc").run()  # tpe begins with what random draws
    assert other.search.decisions.others == 13
    assert not any(point in longer.points.values() for point in other.points.values())


def planned_of(sweep):
    """The proposals that anybody who reads the folder sees."""
    definition = sweep.search.ground.definition
    summary = sweep.plan.summary(lambda key: False)
    plan = {**summary, "search": {"definition": definition, "trials": sweep.search.search.trials}}
    write_sealed(sweep.folder.path / "plan.json", plan)
    return [trial for trial, _ in planned_results(sweep.folder) if "-search" in trial and "-searched" not in trial]


def test_the_finalists_are_the_best_on_fresh_seeds_beside_every_formula(start):
    sweep = start().run()
    assert sweep.search.finished
    first, second = sweep.search.best
    values = sweep.search.all_values
    assert values[first] == max(values.values())
    assert values[second] == sorted(values.values())[-2]
    finalists = [p for p in sweep.plan.planned if "searched" in p.id]
    assert sorted(p.id for p in finalists) == [
        f"convnet-width0.25_hybrid-searched{place}_s90_seed{seed}" for place in (1, 2) for seed in (7, 8)
    ]
    assert all(p.trial.tested for p in finalists)
    assert {p.trial.arm.options["ratios"]["fc"] for p in finalists if "searched1" in p.id} == {
        str(sweep.search.options(first)["ratios"]["fc"])
    }
    formulas = [
        p.trial.arm.options["ratio"] for p in sweep.plan.planned if p.trial.search is None and p not in finalists
    ]
    assert sorted(formulas) == sorted(["uniform", "erk", "smart", "lamp", "magnitude"] * 2)
    assert not [p for p in sweep.search.trials.values() if p.trial.tested]


def test_the_winner_is_chosen_by_validation_on_the_fresh_seeds_and_its_ratios_are_kept(start):
    sweep = start().run()
    better = {"hybrid-searched1": 0.5, "hybrid-searched2": 0.75}
    for planned in list(sweep.waiting):
        value = better.get(planned.trial.arm.label, 0.25)
        sweep.finish(planned, **{"accuracy/val": value, "accuracy/test": 1 - value})
    write_all(sweep.search)
    summary = read_sealed(sweep.folder.path / "search" / "summary.json")
    assert summary["winner"] == "hybrid-searched2"
    second = sweep.search.best[1]
    assert summary["finalists"][1] == {"number": second, "label": "hybrid-searched2", "place": 2}
    ratios = read_ratios(str(sweep.folder.path / "ratios" / "best.json"))
    kept = given_counts(ratios, sweep.search.ground.layers, Decimal("0.9"))
    assert kept == [c for c, _ in sweep.counts(sweep.search.trials[second])]
    assert sweep.search.settled
    again = start()
    assert again.waiting == []
    assert again.search.finished


def test_a_range_of_sparsities_is_one_more_coordinate_and_formulas_come_at_the_finalists(start):
    sweep = start(sparsity=[0.8, 0.95], objectives=["accuracy/val", "sparsity/global"], trials=20)
    assert [(w.source, str(w.sparsity)) for w in sweep.search.ground.warm_starts][:6:5] == [
        ("uniform", "0.8"),
        ("uniform", "0.95"),
    ]
    while running := sweep.proposals(2):
        sweep.finish(running[0], **{"sparsity/global": float(running[0].trial.sparsity)})
    drawn = [planned.trial.sparsity for n, planned in sweep.search.trials.items() if n >= 10]
    assert all(Decimal("0.8") <= each <= Decimal("0.95") for each in drawn)
    assert len(set(drawn)) > 5
    for planned in sweep.search.trials.values():
        assert sum(c for c, _ in sweep.counts(planned)) == sweep.search.ground.kept(planned.trial.sparsity)
    at = {p.trial.sparsity for p in sweep.plan.planned if "searched" in p.id}
    formulas = {p.trial.sparsity for p in sweep.plan.planned if p.trial.search is None and "searched" not in p.id}
    assert formulas == at


def test_a_mixture_is_made_from_what_the_trained_network_says(start):
    sweep = start(space="mixture", concurrency=9)
    assert [w.source for w in sweep.search.ground.warm_starts] == ["uniform", "erk", "smart", "lamp", "magnitude"]
    lamp = next(p for p in sweep.waiting if p.trial.search == 3)
    magnitude = next(p for p in sweep.waiting if p.trial.search == 4)
    assert sweep.search.number == 5  # nine may be in flight, but what they are made from is not known
    sweep.finish(lamp)
    assert sweep.search.number == 5
    sweep.finish(magnitude)
    assert sweep.search.number == 9
    balanced = [c for c, _ in sweep.counts(lamp)]
    space = sweep.search.space
    alone = dict.fromkeys(space.coordinates, 0.0) | {"lamp": 1.0}
    assert space.counts(alone, sum(balanced)) == balanced


def test_fewer_trials_than_warm_starts_leave_a_space_without_its_parts(start):
    sweep = start(space="mixture", trials=2).run()
    assert len(sweep.search.trials) == 2
    write_all(sweep.search)
    proposals = read_sealed(sweep.folder.path / "search" / "summary.json")["proposals"]
    assert [proposal["params"] for proposal in proposals] == [None, None]


def test_the_ratios_that_count_as_tried_are_the_same_after_resuming(start):
    """lamp's and magnitude's too, which only their results tell."""
    whole = start(space="free").run(slots=1, until=9).search
    assert len(whole._tried) == whole.number
    again = start(space="free").search
    assert again.study.told == whole.study.told
    assert again._tried == whole._tried


def test_the_ratios_of_filters_stay_as_they_were_tried(start):
    sweep = start(method="filter_prune", space="stages", trials=3, sparsity=0.5)
    assert sweep.search.options(0) == {"ratios": {"conv1": 1.0, "conv2": 1.0, "conv3": 1.0}}
    assert sweep.search.options(1) == {}


def test_a_torn_decision_is_decided_again(start):
    sweep = start().run(until=8)
    points = sweep.points
    path = sweep.folder.path / "search" / "decisions.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1][:40]]))
    again = start()
    assert again.points == points
    assert len([json.loads(line) for line in path.read_text().splitlines() if line.endswith("}}")]) == len(points)
