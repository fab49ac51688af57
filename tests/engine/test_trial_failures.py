"""Every way a trial can end, and the table of all trials."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from trial_benches import same, trial_bench
from trial_runs import only, run, run_all

from orchestrator.engine import bench as bench_module
from orchestrator.engine import train as train_module
from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.planning import follow
from orchestrator.engine.results import METRICS, planned_results, results, run_status, write_csv
from orchestrator.engine.setting import Setting
from orchestrator.engine.status import epochs_trained
from orchestrator.engine.train import Trainer, weights_of
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Stopped, Watch
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]

# Ways to end


def _plugin_that(body: str) -> str:
    return f"""
        def masks(bench):
            {body}

        class Plugin(Method):
            def find(self, bench):
                return Ticket(bench.initialise(), bench.compute(masks))
    """


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
    name = plugin(_plugin_that(body))
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
    name = plugin(_plugin_that("return {l.name: torch.ones(l.shape, dtype=torch.bool) for l in bench.layers}"))
    result = only(run_all(folder, make_spec(methods=[name])))
    assert result["status"] == "failed"
    assert result["error"]["type"] == "AssertionError"
    assert result["error"]["message"] == "the ticket keeps 1636 weights where sparsity 0.9 keeps 164"


def test_removed_weights_that_trained_fail_the_trial(
    make_spec: MakeSpec, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "Trainer", lambda *args: Trainer(*args[:6]))  # forgets the masks
    result = only(run_all(folder, make_spec()))
    assert result["status"] == "failed"
    assert result["error"]["message"] == "removed weights of layer 'conv1' are not zero after training"


def test_the_reference_variant_may_keep_a_weight_a_layer_less(make_spec: MakeSpec, folder: SweepFolder) -> None:
    result = only(run_all(folder, make_spec(methods=[{"name": "random", "variant": "reference"}])))
    assert result["status"] == "done"
    assert 160 <= sum(layer["kept"] for layer in result["layers"]) <= 164


def test_a_divergence_is_a_result(make_spec: MakeSpec, folder: SweepFolder) -> None:
    result = only(run_all(folder, make_spec(recipe={"lr": 1e30})))
    assert result["status"] == "diverged"
    assert result["error"]["type"] == "Diverged"
    assert "not finite at step" in result["error"]["message"]
    assert "accuracy/test" not in result["metrics"]


def test_what_was_trained_until_a_divergence_is_counted_and_kept(
    make_spec: MakeSpec, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 6 steps an epoch: from step 8 on the rate is absurd; a rewinding point lies beyond
    monkeypatch.setattr(train_module, "learning_rate", lambda recipe, step, per_epoch: 0.05 if step < 8 else 1e30)
    told: list[dict[str, Any]] = []
    spec = make_spec(methods=["dense", {"name": "lottery", "rewind_to": "11it"}])
    found = run_all(folder, spec, tell=told.append)
    assert [result["status"] for result in found.values()] == ["diverged"] * 2
    (step,) = {re.findall(r"not finite at step (\d+) ", result["error"]["message"])[0] for result in found.values()}
    trained = Fraction(int(step) + 1, 6)  # the step at which the loss was seen to be infinite included
    assert 8 / 6 < trained < 11 / 6
    for result in found.values():
        assert [epoch["epoch"] for epoch in result["history"]] == [1]
        assert result["metrics"]["cost/epochs"] == float(trained)
        assert result["metrics"]["cost/train_seconds"] > 0
    assert sum(result["metrics"]["cost/epochs_new"] for result in found.values()) == float(trained)
    assert epochs_trained([told]) == float(trained)


def test_a_stopped_trial_leaves_no_result(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec()
    plan = make_plan(spec)
    with pytest.raises(Stopped):
        run(folder, plan, plan.planned[0], spec, stopping=lambda: True)
    assert not list(folder.path.glob("trials/*/result*"))


def test_a_gpu_that_is_not_there_fails_the_trial(
    make_spec: MakeSpec, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = only(run_all(folder, make_spec(resources={"gpu": 1})))
    assert result["status"] == "failed"
    assert result["error"]["message"] == "resources.gpu asks for a GPU and torch sees none here; set resources.gpu to 0"


# The table


def test_the_table_has_a_row_for_every_planned_trial(
    make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter
) -> None:
    name = plugin(_plugin_that("raise ValueError('a, b')"))
    spec = make_spec(methods=["random", name], seeds=[0, 1])
    run_all(folder, spec)
    assert run_status(folder) == "FAILED"
    trial = next(trial for trial, _ in planned_results(folder) if "random" in trial)
    (folder.trial(trial) / "result.json").unlink()
    assert run_status(folder) == "FAILED"
    table = results(folder)
    assert list(table["trial"]) == sorted(table["trial"])
    assert list(table["status"]).count("missing") == 1
    assert set(table.loc[table["method"] == name, "error"]) == {"ValueError: a, b"}
    path = write_csv(folder)
    lines = path.read_text().splitlines()
    assert len(lines) == 5
    assert lines[0] == (
        "trial,status,model,method,label,options,sparsity,seed,data,key," + ",".join(METRICS) + ",collapsed,error,"
        "blocked_by,started,ended,waited_seconds,host"
    )


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
    name = plugin(_plugin_that(f"{whole}; return {masks}"))
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


def test_a_ticket_of_an_earlier_result_goes_with_it(make_spec: MakeSpec, folder: SweepFolder) -> None:
    trial = only(run_all(folder, make_spec()))["trial"]
    assert (folder.trial(trial) / "ticket.safetensors").exists()
    assert only(run_all(folder, make_spec(recipe={"lr": 1e30})))["status"] == "diverged"
    assert not (folder.trial(trial) / "ticket.safetensors").exists()


def test_a_result_of_an_earlier_plan_does_not_count(make_spec: MakeSpec, folder: SweepFolder) -> None:
    run_all(folder, make_spec())
    assert run_status(folder) == "FINISHED"
    changed = make_plan(make_spec(recipe={"lr": 0.01}))
    write_sealed(folder.path / "plan.json", changed.summary(lambda key: False) | {"run": "run"})
    ((_, result),) = planned_results(folder)
    assert result is None
    assert run_status(folder) == "KILLED"


def test_a_worker_that_finds_another_plan_than_the_drivers_trains_nothing(
    make_spec: MakeSpec, folder: SweepFolder
) -> None:
    spec = make_spec()
    plan = make_plan(spec)
    (planned,) = plan.planned
    result = run_trial(folder, Setting(spec, spec.model[0]), planned.trial, "0" * 64, Watch(trial=planned.id))
    assert result["status"] == "failed"
    assert "changed after the sweep was planned; run the same command again" in result["error"]["message"]
    assert folder.store.stages() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {'x': torch.tensor(float(bench.sparsity))}", "no bench.sparsity; what it depends on is passed as an"),
        (
            "return {'optimiser/0': torch.ones(1)}",
            "gives 'optimiser/0': no name begins with ('optimiser/', 'progress/')",
        ),
    ],
)
def test_a_function_that_would_go_past_its_key_fails(
    make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter, body: str, message: str
) -> None:
    result = only(run_all(folder, make_spec(methods=[plugin(_plugin_that(body))])))
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


def test_a_damaged_result_may_be_set_aside_by_two_processes(folder: SweepFolder, monkeypatch: Any) -> None:
    path = folder.trial("one") / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(FileNotFoundError))
    assert folder.result("one") is None
