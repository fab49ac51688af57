"""What a plan counts: epochs by hand, with weights given too, and which trials it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.engine.plan import make_plan, plan_trial
from orchestrator.engine.setting import Setting
from orchestrator.engine.trials import Trial, trials
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError

MakeSpec = Callable[..., Spec]

# Epochs by hand


def test_epochs_of_a_small_sweep_by_hand(make_spec: MakeSpec) -> None:
    """10 epochs; targets 0.2 and 0.36 at fraction 0.2: one level and two. Dense 10; lottery 0.2: dense 10 and
    ticket 10; lottery 0.36: dense 10, level 10 and ticket 10; the level's mask is the ticket of 0.2, so its
    training is the same one. Random 10 each."""
    spec = make_spec(
        recipe={"epochs": 10}, methods=["dense", "lottery", {"name": "random", "ratio": "uniform"}],
        sparsities=[0.2, 0.36], seeds=[0, 1],
    )  # fmt: skip
    plan = make_plan(spec)
    assert len(plan.planned) == 10
    assert plan.epochs_requested == 2 * (10 + 20 + 30 + 10 + 10)
    assert plan.epochs_distinct == 2 * (10 + 10 + 10 + 20)
    # a seed: init; dense, 2 lottery and 2 random trainings; 2 masks each; 5 evaluations
    assert plan.stages == 2 * (1 + 5 + 4 + 5)
    assert [planned.epochs for planned in plan.planned] == sorted((p.epochs for p in plan.planned), reverse=True)
    assert {p.id for p in plan.planned if p.epochs == 30} == {
        "convnet-width0.25_lottery_s36_seed0",
        "convnet-width0.25_lottery_s36_seed1",
    }


def test_rewinding_counts_the_shared_way_once(make_spec: MakeSpec) -> None:
    """4 epochs of 6 steps (1,293 images in batches of 256: 5 and one of 13). Rewound to step 3, 0.5 epochs: dense
    4, ticket 3.5. Rewound to 2 epochs: ticket 2. Both rewinding points lie on the dense run."""
    options = {"name": "one_shot", "rewind_to": ["3it", "2ep"]}
    plan = make_plan(make_spec(recipe={"epochs": 4}, methods=["dense", options]))
    per_epoch = plan.planned[0].per_epoch
    assert per_epoch == 6
    assert plan.epochs_requested == 4 + (4 + 3.5) + (4 + 2)
    assert plan.epochs_distinct == 4 + 3.5 + 2
    (dense,) = (p for p in plan.planned if p.trial.arm.name == "dense")
    run = dense.chain.trainings[0].run
    assert plan.cuts[run] == [3, 12, 24]
    pieces = plan.segments(dense)
    assert list(pieces.values()) == [(0, 3), (3, 12), (12, 24)]
    assert {plan.owners[key] for key in pieces} == {plan.planned[0].id}, "the longest chain comes first"
    instructions = plan.instructions(dense)
    assert instructions["cuts"] == {**instructions["cuts"], run: [3, 12, 24]}
    assert set(pieces) <= set(instructions["owners"])


def test_missing_epochs_by_what_the_store_has(make_spec: MakeSpec) -> None:
    options = {"name": "one_shot", "rewind_to": "2ep"}
    plan = make_plan(make_spec(recipe={"epochs": 4}, methods=["dense", options]))
    (dense,) = (p for p in plan.planned if p.trial.arm.name == "dense")
    first, last = plan.segments(dense)
    assert plan.epochs_missing(lambda key: False) == 6
    assert plan.epochs_missing(lambda key: key == first) == 4
    assert plan.epochs_missing(lambda key: key in (first, last)) == 2
    assert plan.epochs_missing(lambda key: True) == 0
    # what a finished trial has trained is not missed once it is dropped, but where another trial needs it
    (lottery,) = (p for p in plan.planned if p is not dense)
    assert plan.given([dense.id]).epochs_missing(lambda key: False) == 6
    assert plan.given([lottery.id]).epochs_missing(lambda key: False) == 4
    assert plan.given([dense.id, lottery.id]).epochs_missing(lambda key: False) == 0
    # and counts for the trial that makes it again, not for the one that is done
    assert plan.owners[first] == plan.planned[0].id == lottery.id
    assert plan.given([lottery.id]).owners[first] == dense.id
    assert plan.given([dense.id]).owners[first] == lottery.id
    summary = plan.given([dense.id]).summary(lambda key: key in (first, last))
    assert (summary["trials"], summary["epochs_distinct"], summary["epochs_to_train"]) == (2, 6, 2)
    assert {row["trial"]: row["done"] for row in summary["planned"]}[dense.id]
    # shared between the two: init, and the dense training; the rewinding point is lottery's alone
    assert [row["shared_stages"] for row in summary["planned"]] == [2, 2]
    # for who asks what a trial without a result would have been
    said = [(row["model"], row["label"], row["sparsity"], row["seed"]) for row in summary["planned"]]
    assert said == [("convnet-width0.25", p.trial.arm.label, float(p.trial.sparsity), 0) for p in plan.planned]


def test_a_seed_or_sparsity_more_leaves_the_rest_of_the_plan_alone(make_spec: MakeSpec) -> None:
    small = make_plan(make_spec(methods=["dense", "lottery"], sparsities=[0.36], seeds=[0]))
    large = make_plan(make_spec(methods=["dense", "lottery"], sparsities=[0.36, 0.5], seeds=[0, 1]))
    made = {request.key for planned in small.planned for request in planned.chain.requests}
    assert small.epochs_distinct == 2 * 3
    # seed 0: two levels more for 0.5; seed 1: all 5 of 2 epochs
    assert large.epochs_missing(lambda key: key in made) == 2 * 2 + 2 * 5


# Which trials


def test_trials_are_every_combination_named_after_it(make_spec: MakeSpec) -> None:
    spec = make_spec(
        model=[{"name": "convnet", "width": 0.25}, "resnet8"], methods=["dense", "random"],
        sparsities=[0.9, 0.985], seeds=[0, 7],
    )  # fmt: skip
    assert [trial.id for trial in trials(spec)][:6] == [
        "convnet-width0.25_dense_seed0",
        "convnet-width0.25_dense_seed7",
        "convnet-width0.25_random_s90_seed0",
        "convnet-width0.25_random_s90_seed7",
        "convnet-width0.25_random_s98.5_seed0",
        "convnet-width0.25_random_s98.5_seed7",
    ]
    assert len(trials(spec)) == 12


def test_two_trials_of_one_name_are_refused(make_spec: MakeSpec) -> None:
    spec = make_spec(model=[{"name": "convnet", "weights": "a/x.pt"}, {"name": "convnet", "weights": "b/x.pt"}])
    with pytest.raises(SpecError, match="two trials would both be called 'convnet-x_random_s90_seed0'"):
        trials(spec)


def test_all_that_methods_refuse_is_said_at_once(make_spec: MakeSpec) -> None:
    spec = make_spec(
        methods=[{"name": "lottery", "prune_classifier": False}, "random"], sparsities=[0.5, 0.99], seeds=[0, 1]
    )
    with pytest.raises(SpecError) as raised:
        make_plan(spec)
    text = str(raised.value)
    assert text.count("lottery") == 1
    assert "at sparsity 0.99: sparsity 0.99 keeps fewer weights than the 160 of the classifier" in text
    assert text.count("is over the budget of") == 1


def test_only_one_methods_trials(make_spec: MakeSpec) -> None:
    plan = make_plan(make_spec(methods=["dense", "lottery"]))
    only = plan.only("dense")
    assert [planned.trial.arm.name for planned in only.planned] == ["dense"]
    assert set(only.owners.values()) == {only.planned[0].id}
    assert plan.only(None).epochs_distinct == plan.epochs_distinct
    with pytest.raises(SpecError, match="--only snip: no such method in this spec; it has: dense, lottery"):
        plan.only("snip")


def test_plan_trial_is_a_pure_function(make_spec: MakeSpec) -> None:
    spec = make_spec(methods=["lottery"])
    (trial,) = trials(spec)
    assert isinstance(trial, Trial)
    left = plan_trial(Setting(spec, spec.model[0]), trial).chain
    right = plan_trial(Setting(spec, spec.model[0]), trial).chain
    assert left.key == right.key
    assert left.requests == right.requests


# Weights given


def test_given_weights_stand_in_for_the_dense_training(make_spec: MakeSpec, weights_file: str) -> None:
    model = {"name": "convnet", "width": 0.25, "weights": weights_file}
    spec = make_spec(model=model, methods=["dense", "lottery", {"name": "random"}], sparsities=[0.36])
    plan = make_plan(spec)
    epochs = {planned.trial.arm.name: planned.epochs for planned in plan.planned}
    assert epochs == {"dense": 0, "lottery": 4, "random": 2}
    assert plan.epochs_distinct == 6


def test_rewinding_given_weights_is_refused(make_spec: MakeSpec, weights_file: str) -> None:
    model = {"name": "convnet", "width": 0.25, "weights": weights_file}
    spec = make_spec(model=model, methods=[{"name": "lottery", "rewind_to": "1ep"}])
    with pytest.raises(SpecError, match="cannot rewind to 1ep: the dense network comes from `weights:`"):
        make_plan(spec)


def test_a_rewinding_point_that_is_added_later_is_trained_and_foreseen(make_spec: MakeSpec) -> None:
    dense = make_plan(make_spec(recipe={"epochs": 4}, methods=["dense"]))
    made = {request.key for request in dense.planned[0].chain.requests}
    options = {"name": "one_shot", "rewind_to": "1ep"}
    plan = make_plan(make_spec(recipe={"epochs": 4}, methods=["dense", options]))
    # the dense training is there, but not its first epoch's weights; and the ticket trains from there
    assert plan.epochs_missing(made.__contains__) == 1 + 3
    # where dense alone is run first, the point is kept on the way
    only = plan.only("dense")
    assert only.epochs_distinct == 4
    assert (
        set(only.missing(lambda key: False))
        == set(only.segments(only.planned[0]))
        == set(plan.segments(plan.by_id[only.planned[0].id]))
    )
