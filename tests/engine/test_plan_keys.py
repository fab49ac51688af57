"""What a plan names: keys that change with their inputs and with nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from safetensors.torch import save_file

from orchestrator.engine import setting as setting_module
from orchestrator.engine.nets import build
from orchestrator.engine.plan import Plan, make_plan
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
    with pytest.raises(SpecError, match="must be a function at the top of a module: its source"):
        make_plan(make_spec(methods=[name]))


@pytest.mark.parametrize("function", ["self.masks", "Plugin.masks", "functools.partial(masks, 1)", "Plugin"])
def test_what_may_hide_options_is_refused(make_spec: MakeSpec, plugin: PluginWriter, function: str) -> None:
    name = plugin(f"""
        import functools

        def masks(x, bench):
            return {{}}

        class Plugin(Method):
            def masks(self, bench):
                return {{}}

            def find(self, bench):
                return Ticket(bench.initialise(), bench.compute({function}))
    """)
    with pytest.raises(SpecError, match="must be a function at the top of a module: its source"):
        make_plan(make_spec(methods=[name]))


def test_whatever_a_method_raises_is_said_of_it(make_spec: MakeSpec, plugin: PluginWriter) -> None:
    name = plugin("""
        class Plugin(Method):
            def find(self, bench):
                return {}["nothing"]
    """)
    with pytest.raises(SpecError, match=f"{name} on .*: its method raised KeyError: 'nothing'"):
        make_plan(make_spec(methods=[name]))


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
