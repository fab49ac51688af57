"""What a method may raise and hand back, and what is said where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from trial_benches import same, trial_bench
from trial_runs import only, plugin_that, run_all

from orchestrator.engine.chain import follow
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.train import weights_of
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 3 GiB')", "OutOfMemoryError", "3 GiB"),
        ("raise MemoryError('no memory')", "MemoryError", "no memory"),
        ("return [][0]", "IndexError", "list index out of range"),
        ("raise SystemExit('bye')", "SystemExit", "bye"),
        ("return bench.scoring_batch(10000)", "DataError", "ask for fewer a class"),
    ],
)
def test_a_method_that_raises_is_recorded_with_its_stage(
    make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter, body: str, kind: str, message: str
) -> None:
    name = plugin(plugin_that(body))
    spec = make_spec(methods=[name])
    result = only(run_all(folder, spec))
    assert result["status"] == "failed"
    assert result["error"]["type"] == kind
    assert message in result["error"]["message"]
    assert f"{name}.py" in result["error"]["traceback"]
    (planned,) = make_plan(spec).planned
    assert result["failed_stage"] == planned.chain.requests[1].key
    assert result["metrics"] == {}
    assert folder.result(result["trial"]) == result


def test_a_failed_trials_neighbour_is_blocked(make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter) -> None:
    name = plugin("""
        from pydantic import Field
        from methods.method import Options

        def masks(bench):
            raise RuntimeError("once is enough")

        class Plugin(Method):
            class Options(Options):
                x: int = 0

            def find(self, bench):
                return Ticket(bench.initialise(), bench.compute(masks))
    """)
    first, second = run_all(folder, make_spec(methods=[{"name": name, "x": [1, 2]}])).values()
    assert first["status"] == "failed"
    assert second["status"] == "blocked"
    assert second["blocked_by"] == first["trial"]


def test_a_method_that_misses_the_budget_fails(make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter) -> None:
    name = plugin(plugin_that("return {l.name: torch.ones(l.shape, dtype=torch.bool) for l in bench.layers}"))
    result = only(run_all(folder, make_spec(methods=[name])))
    assert result["status"] == "failed"
    assert result["error"]["type"] == "AssertionError"
    assert result["error"]["message"] == "the ticket keeps 1636 weights where sparsity 0.9 keeps 164"


def test_the_reference_variant_may_keep_a_weight_a_layer_less(make_spec: MakeSpec, folder: SweepFolder) -> None:
    result = only(run_all(folder, make_spec(methods=[{"name": "random", "variant": "reference"}])))
    assert result["status"] == "done"
    assert 160 <= sum(layer["kept"] for layer in result["layers"]) <= 164


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ("None", "masks returned missing; expected a dict of tensors"),
        ("[1]", "masks returned a value of type list; expected a dict of tensors"),
        ("{**whole, 'bogus': whole['fc']}", "the masks hold 'bogus', which is no prunable layer of the network"),
        ("{name: mask for name, mask in whole.items() if name != 'fc'}", "the mask of layer 'fc' is missing; expected"),
        ("{**whole, 'fc': whole['fc'].float()}", "the mask of layer 'fc' is float32 of shape "),
        ("{**whole, 'fc': whole['fc'][:1]}", "the mask of layer 'fc' is bool of shape (1, "),
    ],
)
def test_masks_that_are_none_of_this_network_are_named(
    make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter, masks: str, message: str
) -> None:
    whole = "whole = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in bench.layers}"
    name = plugin(plugin_that(f"{whole}; return {masks}"))
    result = only(run_all(folder, make_spec(methods=[name])))
    assert result["status"] == "failed"
    assert message in result["error"]["message"]


def test_weights_that_are_not_finite_before_training_are_an_error(
    make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter
) -> None:
    name = plugin(
        """
        def spoil(bench, weights):
            return {**weights, "fc.weight": weights["fc.weight"] / 0}

        class Plugin(Method):
            def find(self, bench):
                return Ticket(bench.compute(spoil, bench.initialise()), bench.dense_masks())
        """
    )
    result = only(run_all(folder, make_spec(methods=[name])))
    assert result["status"] == "failed"
    assert result["error"]["message"] == "the weights to train from are not finite: 'fc.weight' holds NaN or infinity"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "TypeError: `find` returned a value of type NoneType; expected a methods.bench.Ticket"),
        ("return bench.initialise()['fc.weight']", "look at tensors in a function given to `bench.compute`"),
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_method_that_cannot_be_planned_says_where(
    make_spec: MakeSpec, plugin: PluginWriter, body: str, message: str
) -> None:
    name = plugin(f"class Plugin(Method):\n    def find(self, bench):\n        {body}\n")
    with pytest.raises(SpecError) as caught:
        make_plan(make_spec(methods=[name]))
    (line,) = caught.value.lines
    assert message in line
    assert re.search(r"\.py:\d+\)$", line)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {'x': torch.tensor(float(bench.sparsity))}", "no bench.sparsity; what it depends on is passed as an"),
        (
            "return {'optimiser/0': torch.ones(1)}",
            "gives 'optimiser/0': no name begins with ('optimiser/', 'progress/', 'mask/')",
        ),
    ],
)
def test_a_function_that_would_go_past_its_key_fails(
    make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter, body: str, message: str
) -> None:
    result = only(run_all(folder, make_spec(methods=[plugin(plugin_that(body))])))
    assert result["status"] == "failed"
    assert message in result["error"]["message"]


def test_a_function_may_write_to_its_inputs(make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter) -> None:
    name = plugin("""
        def masks(bench, weights):
            for value in weights.values():
                value.zero_()
            return {layer.name: torch.rand(layer.shape, generator=bench.generator("x")) > 0.9 for layer in bench.layers}

        class Plugin(Method):
            def find(self, bench):
                weights = bench.initialise()
                return Ticket(weights, bench.compute(masks, weights))
    """)
    spec = make_spec(methods=[name])
    (planned,) = make_plan(spec).planned
    bench = trial_bench(spec, folder.path, method=name)
    follow(bench, planned.trial.method)
    assert bench.value(planned.chain.ticket.weights.key)["conv1.weight"].any()
    trained = weights_of(bench.value(planned.chain.trained.key))
    folder.store.delete(planned.chain.trained.key)
    again = trial_bench(spec, folder.path, method=name)
    follow(again, planned.trial.method)
    assert same(trained, weights_of(again.value(planned.chain.trained.key)))
