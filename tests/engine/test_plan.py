"""What a plan names and counts: keys that change with their inputs and with nothing else, epochs by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from safetensors.torch import save_file

from methods import registry
from methods.step import Step
from orchestrator.engine import setting as setting_module
from orchestrator.engine.nets import build
from orchestrator.engine.plan import Plan, Trial, make_plan, plan_trial, trials
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.setting import Setting
from orchestrator.spec.models import Model, Spec
from orchestrator.spec.problems import SpecError

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]
RANDOM_PLUGIN = """
def masks(bench):
    return {l.name: torch.arange(l.weights).reshape(l.shape) % 10 == 0 for l in bench.layers}

class Plugin(Method):
    def find(self, bench):
        return Ticket(bench.initialise(), bench.compute(masks))
"""


def _chains(spec: Spec) -> dict[str, tuple[str, ...]]:
    """Trial -> keys of its stages."""
    return {planned.id: tuple(request.key for request in planned.chain.requests) for planned in make_plan(spec).planned}


def _only(chains: dict[str, Any]) -> Any:
    (chain,) = chains.values()
    return chain


def _kinds(spec: Spec) -> dict[str, str]:
    """Kind of stage -> key, of a spec with one trial that asks for each kind once."""
    (planned,) = make_plan(spec).planned
    return {request.kind: request.key for request in planned.chain.requests}


SNIP: dict[str, Any] = {"methods": ["snip"]}

# Keys


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"data": {"name": "digits", "split_seed": 1}}, "initialise compute train evaluate"),
        ({"data": {"name": "digits", "test": 0.3}}, "initialise compute train evaluate"),
        ({"model": {"name": "convnet", "width": 0.5}}, "initialise compute train evaluate"),
        ({"model": {"name": "resnet8", "width": 0.25}}, "initialise compute train evaluate"),
        ({"seeds": [1]}, "initialise compute train evaluate"),
        ({"prunable": {"exclude": ["fc"]}}, "initialise compute train evaluate"),
        ({"recipe": {"epochs": 3}}, "train evaluate"),
        ({"recipe": {"batch": 128}}, "train evaluate"),
        ({"recipe": {"optimiser": "adam"}}, "train evaluate"),
        ({"recipe": {"lr": 0.06}}, "train evaluate"),
        ({"recipe": {"momentum": 0.8}}, "train evaluate"),
        ({"recipe": {"nesterov": True}}, "train evaluate"),
        ({"recipe": {"weight_decay": 0.0}}, "train evaluate"),
        ({"recipe": {"label_smoothing": 0.1}}, "train evaluate"),
        ({"recipe": {"schedule": {"name": "cosine"}}}, "train evaluate"),
        ({"recipe": {"schedule": {"warmup": "1ep"}}}, "train evaluate"),
        ({"recipe": {"augmentation": {"crop": 1}}}, "compute train evaluate"),
        ({"methods": [{"name": "snip", "batches": 2}]}, "compute train evaluate"),
        ({"methods": [{"name": "snip", "per_class": 5}]}, "compute train evaluate"),
        ({"sparsities": [0.95]}, "compute train evaluate"),
    ],
    ids=str,
)
def test_a_key_changes_with_each_of_its_inputs(make_spec: MakeSpec, change: dict[str, Any], kinds: str) -> None:
    before, after = _kinds(make_spec(**SNIP)), _kinds(make_spec(**{**SNIP, **change}))
    assert [kind for kind in before if before[kind] != after[kind]] == kinds.split()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"tracking": {"enabled": False, "experiment": "x"}},
        {"concurrency": 3},
        {"resources": {"cpu": 2}},
        {"failures": {"max_failures": 0}},
        {"keep": "tickets"},
        {"storage": "elsewhere"},
        {"methods": ["dense", "snip", {"name": "lottery"}]},
        {"sparsities": [0.8, 0.9]},
        {"seeds": [3, 0]},
        {"model": [{"name": "resnet8", "width": 0.25}, {"name": "convnet", "width": 0.25}]},
        {"methods": [{"name": "snip", "batches": 1, "per_class": 10}]},
    ],
    ids=str,
)
def test_a_key_changes_with_nothing_else(make_spec: MakeSpec, change: dict[str, Any]) -> None:
    before, after = _chains(make_spec(**SNIP)), _chains(make_spec(**{**SNIP, **change}))
    assert _only(before) in after.values()


def test_the_data_enter_by_content_not_by_name(make_spec: MakeSpec) -> None:
    spec = make_spec(**SNIP)
    data = Setting(spec, spec.model[0]).data
    same, other = dataclasses.replace(data, name="renamed"), dataclasses.replace(data, content="other images")
    keys = []
    for replaced in (data, same, other):
        setting = Setting(spec, spec.model[0])
        setting.__dict__["data"] = replaced
        keys.append(setting.key)
    assert keys[0] == keys[1] != keys[2]


def test_the_source_of_a_users_network_enters(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for source in ("a", "b"):
        monkeypatch.setattr(setting_module, "source_of", lambda model, source=source: source)
        keys.append(_kinds(make_spec(**SNIP)))
    assert not set(keys[0].values()) & set(keys[1].values())


def test_editing_a_methods_source_changes_its_keys_and_no_others(make_spec: MakeSpec, plugin: PluginWriter) -> None:
    name = plugin(RANDOM_PLUGIN)
    spec = make_spec(methods=[name, "random", "snip", "lottery"])
    before, same = make_plan(spec), make_plan(spec)
    plugin(RANDOM_PLUGIN + "\n# a comment counts as an edit\n", name)
    after = make_plan(spec)

    def chain_keys(plan: Plan) -> dict[str, str]:
        return {planned.trial.arm.name: planned.chain.key for planned in plan.planned}

    assert chain_keys(before) == chain_keys(same)
    assert [key for key, value in chain_keys(before).items() if chain_keys(after)[key] != value] == [name]
    edited = {p.trial.arm.name: [r.key for r in p.chain.requests] for p in after.planned}[name]
    plain = {p.trial.arm.name: [r.key for r in p.chain.requests] for p in before.planned}[name]
    assert [left == right for left, right in zip(plain, edited, strict=True)] == [True, False, False, False]


def test_two_methods_with_one_function_do_not_share_its_stage(make_spec: MakeSpec, plugin: PluginWriter) -> None:
    """A method's own source is part of what its computed stages are, though not of trainings."""
    left, right = plugin(RANDOM_PLUGIN), plugin(RANDOM_PLUGIN)
    chains = _chains(make_spec(methods=[left, right]))
    first, second = chains.values()
    assert first[0] == second[0]
    assert not set(first[1:]) & set(second[1:])


def test_functions_whose_source_is_unknown_are_refused(make_spec: MakeSpec, plugin: PluginWriter) -> None:
    name = plugin("""
        class Plugin(Method):
            def find(self, bench):
                return Ticket(bench.initialise(), bench.compute(lambda bench: {}))
    """)
    with pytest.raises(SpecError, match="must be a function at the top of a module, so that its source is known"):
        make_plan(make_spec(methods=[name]))


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
    options = {"name": "lottery", "one_shot": True, "rewind_to": ["3it", "2ep"]}
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
    options = {"name": "lottery", "one_shot": True, "rewind_to": "2ep"}
    plan = make_plan(make_spec(recipe={"epochs": 4}, methods=["dense", options]))
    (dense,) = (p for p in plan.planned if p.trial.arm.name == "dense")
    first, last = plan.segments(dense)
    assert plan.epochs_missing(lambda key: False) == 6
    assert plan.epochs_missing(lambda key: key == first) == 4
    assert plan.epochs_missing(lambda key: key in (first, last)) == 2
    assert plan.epochs_missing(lambda key: True) == 0
    done = {dense.id: dense.chain.key}
    summary = plan.summary(lambda key: key in (first, last), done)
    assert (summary["trials"], summary["epochs_distinct"], summary["epochs_to_train"]) == (2, 6, 2)
    assert {row["trial"]: row["done"] for row in summary["planned"]}[dense.id]
    # shared between the two: init, and the dense training; the rewinding point is lottery's alone
    assert [row["shared_stages"] for row in summary["planned"]] == [2, 2]


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


# Training on the bench


def _bench(spec: Spec) -> PlanningBench:
    return PlanningBench(Setting(spec, spec.model[0]), registry.get("lottery"), 0, Decimal("0.5"))


def test_training_to_where_the_weights_stand_asks_for_nothing(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    weights = bench.initialise()
    assert bench.train(weights, until=Step.parse("0ep")) == weights
    half = bench.train(weights, until=Step.parse("1ep"))
    assert half.step == 6
    assert bench.train(half, until=Step.parse("6it")) == half
    assert [request.kind for request in bench.requests.values()] == ["initialise", "train"]


def test_steps_outside_the_schedule_are_refused(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    weights = bench.initialise()
    with pytest.raises(
        ValueError, match=r"cannot train until 13it: .* step 0 of a schedule of 12 steps \(2 epochs of 6"
    ):
        bench.train(weights, until=Step.parse("13it"))
    with pytest.raises(ValueError, match=r"cannot train until 0\.5ep: the weights stand at step 6"):
        bench.train(bench.train(weights, until=Step.parse("1ep")), until=Step.parse("0.5ep"))


def test_dense_masks_and_none_are_one_training(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    weights = bench.initialise()
    assert bench.train(weights) == bench.train(weights, bench.dense_masks())


def test_a_planning_bench_hands_out_no_data(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    for use in (lambda: bench.net({}), lambda: bench.scoring_batch(1), lambda: bench.generator("x")):
        with pytest.raises(RuntimeError, match="only a function given to `compute` may"):
            use()


# Weights given


@pytest.fixture
def weights_file(tmp_path: Any) -> str:
    net = build(Model.model_validate({"name": "convnet", "width": 0.25}), 10, (1, 8, 8), 3)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, tmp_path / "given.safetensors")
    return str(tmp_path / "given.safetensors")


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


def test_given_weights_enter_keys_by_content(make_spec: MakeSpec, weights_file: str, tmp_path: Any) -> None:
    def keys(file: Any) -> Any:
        return _only(_chains(make_spec(model={"name": "convnet", "width": 0.25, "weights": str(file)})))

    (tmp_path / "moved").mkdir()
    copy = tmp_path / "moved" / "given.safetensors"
    copy.write_bytes((tmp_path / "given.safetensors").read_bytes())
    assert keys(copy) == keys(weights_file)
    net = build(Model.model_validate({"name": "convnet", "width": 0.25}), 10, (1, 8, 8), 4)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, copy)
    assert not set(keys(copy)) & set(keys(weights_file))


def test_plan_trial_is_a_pure_function(make_spec: MakeSpec) -> None:
    spec = make_spec(methods=["lottery"])
    (trial,) = trials(spec)
    assert isinstance(trial, Trial)
    left = plan_trial(Setting(spec, spec.model[0]), trial).chain
    right = plan_trial(Setting(spec, spec.model[0]), trial).chain
    assert left.key == right.key
    assert left.requests == right.requests
