"""A bench on other data or under another recipe, masks that a training left, answers that steer a method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from trial_benches import same, trial_bench
from trial_runs import only, run_all
from updaters import Halves

from methods import registry
from methods.bench import DataView, Tensors, Workbench
from methods.step import Step
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.train import weights_of
from orchestrator.engine.watch import Stopped, Watch
from orchestrator.spec.models import Spec

# to wait for a stage is what a test stops at
pytestmark = pytest.mark.usefixtures("hears_nobody")

MakeSpec = Callable[..., Spec]


def labels_seen(bench: Workbench) -> Tensors:
    images, labels = zip(*bench.images("train", 100), strict=True)
    return {"labels": torch.cat(labels), "sum": torch.cat(images).double().sum()}


def test_a_class_block_has_its_own_classes_network_and_epochs(make_spec: MakeSpec, tmp_path: Path) -> None:
    bench = trial_bench(make_spec(), tmp_path)
    blocks = [bench.on(data=DataView("class_block", block, 2)) for block in range(2)]
    assert [block.classes for block in blocks] == [5, 5]
    assert [block.layers[-1].shape[0] for block in blocks] == [5, 5]
    assert bench.classes == 10
    seen = [bench.value(block.compute(labels_seen).key)["labels"] for block in blocks]
    assert [int(each.max()) for each in seen] == [4, 4]
    whole = bench.value(bench.compute(labels_seen).key)["labels"]
    assert len(seen[0]) + len(seen[1]) == len(whole)
    trained = [block.train(block.initialise(), until=Step.parse("2it")) for block in blocks]
    weights = [weights_of(bench.value(stage.key)) for stage in trained]
    assert not same(*weights)
    assert weights[0]["fc.weight"].shape[0] == 5


@pytest.mark.parametrize("kind", ["half", "random_labels", "permuted_pixels", "noise"])
def test_spoilt_data_are_of_the_trials_seed_and_only_what_trains(
    make_spec: MakeSpec, tmp_path: Path, kind: str
) -> None:
    found = {}
    for seed in (0, 1):
        bench = trial_bench(make_spec(), tmp_path, seed=seed)
        spoilt = bench.on(data=DataView(kind))
        found[seed] = bench.value(spoilt.compute(labels_seen).key)
        again = trial_bench(make_spec(), tmp_path / "again", seed=seed)
        assert same(found[seed], again.value(again.on(data=DataView(kind)).compute(labels_seen).key))
        clean = bench.value(bench.compute(labels_seen).key)
        counted = [sorted(values["labels"].tolist()) for values in (clean, found[seed])]
        assert (counted[0] == counted[1]) == (kind == "permuted_pixels")
        assert bench.evaluate(bench.initialise()) == bench.evaluate(bench.initialise()), "tests are the clean ones"
    assert not same(found[0], found[1])


def test_another_recipe_trains_otherwise_and_its_stages_go_on_here(make_spec: MakeSpec, tmp_path: Path) -> None:
    bench = trial_bench(make_spec(), tmp_path)
    low = bench.on(recipe={"lr": 0.001, "epochs": 3, "schedule": {"name": "constant"}})
    assert (low.recipe["lr"], low.recipe["epochs"], bench.recipe["lr"]) == (0.001, 3, 0.05)
    tuned = low.train(bench.train(bench.initialise()).at(0))
    assert tuned.step == low.iterations(Step.parse("3ep"))
    history = bench.meta(tuned.key)["history"]
    assert [record["lr"] for record in history] == [0.001] * 3
    assert bench.train(tuned.at(0)).key != tuned.key
    assert bench.meta(bench.evaluate(tuned).key)["test"]["accuracy"] > 0


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"batch": 8}, "a method may not change the batch"),
        ({"epochs": 0}, r"a method changes the recipe to \{'epochs': 0\}, which is none: epochs: "),
        ({"rate": 1}, "which is none: rate: "),
    ],
)
def test_a_recipe_that_is_none_is_refused(
    make_spec: MakeSpec, tmp_path: Path, recipe: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trial_bench(make_spec(), tmp_path).on(recipe=recipe)


def test_views_that_the_data_do_not_allow_are_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    bench = trial_bench(make_spec(), tmp_path)
    with pytest.raises(ValueError, match="10 classes do not make 3 equal blocks"):
        bench.on(data=DataView("class_block", 0, 3))
    with pytest.raises(ValueError, match="unknown view 'mirrored' of data; known: class_block, half"):
        bench.on(data=DataView("mirrored"))


def test_other_initial_weights_are_others_of_the_same_trial(make_spec: MakeSpec, tmp_path: Path) -> None:
    draws = []
    for seed in (0, 1):
        bench = trial_bench(make_spec(), tmp_path, seed=seed)
        draws += [bench.value(bench.initialise(draw).key) for draw in (0, 1, 2)]
    assert not any(same(left, right) for i, left in enumerate(draws) for right in draws[:i])


def test_masks_that_a_training_left(make_spec: MakeSpec, tmp_path: Path) -> None:
    bench = trial_bench(make_spec(), tmp_path)
    trained = bench.train(bench.initialise(), updater=Halves(2))
    assert bench.train(bench.initialise(), updater=Halves(3)).key != trained.key
    assert bench.train(bench.initialise()).key != trained.key
    weights = weights_of(bench.value(trained.key))
    masks = bench.masks(bench.masks_of(trained), weights)
    for layer in bench.layers:
        assert int(masks[layer.name].sum()) == layer.weights // 2
        assert not weights[layer.parameter][~masks[layer.name]].any()
    assert bench.meta(trained.key)["macs"] > 0


def number(bench: Workbench, value: float) -> Tensors:
    return {"value": torch.tensor(value)}


def test_an_answer_is_the_plans_guess_until_the_trial_knows_it(make_spec: MakeSpec, tmp_path: Path) -> None:
    bench = trial_bench(make_spec(), tmp_path)
    stage = bench.compute(number, value=2.5)
    assert bench.ask(stage, "value", otherwise=7) == 2.5


STEERED = """
    from methods import budget
    from methods.masks import keep_largest

    def number(bench):
        return {"rounds": torch.tensor(2)}

    def masks(bench, weights, keep):
        return keep_largest({x.name: weights[x.parameter].abs() for x in bench.layers}, keep)

    class Plugin(Method):
        '''Three rounds in the plan, two when it is known.'''
        def find(self, bench):
            weights, rounds = bench.initialise(), 0
            keep = budget.kept(budget.total(bench.layers), bench.sparsity)
            while True:
                rounds += 1
                weights = bench.train(weights.at(0))
                found = bench.compute(masks, weights, keep=keep)
                if rounds == bench.ask(bench.compute(number), "rounds", otherwise=3):
                    return Ticket(weights.at(0), found)
"""


def test_a_plan_of_an_unknown_course_is_the_longest_and_says_so(
    make_spec: MakeSpec, folder: SweepFolder, plugin: Callable[[str], str]
) -> None:
    spec = make_spec(methods=[plugin(STEERED)])
    plan = make_plan(spec)
    summary = plan.summary(lambda key: False)
    assert summary["at_most"] is True
    assert [(row["at_most"], row["epochs"]) for row in summary["planned"]] == [(True, 8.0)]
    result = only(run_all(folder, spec))
    assert result["status"] == "done", result["error"]
    assert result["metrics"]["cost/epochs"] == result["metrics"]["cost/epochs_new"] == 6.0
    planned = [request.key for request in plan.planned[0].chain.requests]
    asked = [stage["key"] for stage in result["chain"]]
    assert asked[:6] == planned[:6], "initial weights, two trainings, two masks and the number"
    assert folder.result(result["trial"], plan.planned[0].chain.key) == result, "the result stands for the plan"
    assert make_plan(make_spec()).summary(lambda key: False)["at_most"] is False


def test_of_trainings_side_by_side_the_one_in_anothers_hands_is_left_to_the_last(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    waiting = lambda: any("waiting" in event for event in told)  # noqa: E731
    bench = trial_bench(make_spec(), tmp_path, Watch(tell=told.append, stopping=waiting))
    blocks = [bench.on(data=DataView("class_block", block, 2)) for block in range(2)]
    starts = [block.initialise() for block in blocks]
    keys = [PlanningBench.train(_planned(block), start).key for block, start in zip(blocks, starts, strict=True)]
    with bench.store.claim(keys[0]) as mine:
        assert mine
        with pytest.raises(Stopped):
            bench.side_by_side([partial(block.train, start) for block, start in zip(blocks, starts, strict=True)])
        assert [bench.store.has(key) for key in keys] == [False, True]
        assert list(bench.requests)[-2:] == keys, "asked for in their order all the same"
    told.clear()
    found = bench.side_by_side([partial(block.train, start) for block, start in zip(blocks, starts, strict=True)])
    assert [stage.key for stage in found] == keys
    assert bench.watch.patient


def test_another_methods_ticket_and_what_is_wrong_with_its_options(make_spec: MakeSpec, tmp_path: Path) -> None:
    bench = trial_bench(make_spec(), tmp_path, sparsity="0.5")
    found = bench.found_by("magnitude_init", {"scope": "layerwise"})
    masks = bench.masks(found.masks, bench.value(found.weights.key))
    assert all(int(masks[layer.name].sum()) == layer.weights // 2 for layer in bench.layers)
    for name, options, error, message in (
        ("snipp", {}, LookupError, "unknown method 'snipp'; did you mean 'snip'"),
        ("snip", {"per_clas": 3}, ValueError, "snip: per_clas: unknown key; did you mean 'per_class'"),
        ("snip", {"per_class": [3, 4]}, ValueError, "snip: one value for each option is expected here"),
    ):
        with pytest.raises(error, match=message):
            bench.found_by(name, options)


def _planned(bench: TrialBench) -> PlanningBench:
    return PlanningBench(bench.setting, registry.get("random"), bench.seed, bench.sparsity)
