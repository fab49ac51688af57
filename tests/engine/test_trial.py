"""A trial from plan to result: metrics by hand, the ticket's file, and what trials cost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from trial_runs import only, run, run_all

from orchestrator.api import load_ticket
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.chain import follow
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.metrics import costs
from orchestrator.engine.nets import build
from orchestrator.engine.plan import make_plan
from orchestrator.engine.results import METRICS
from orchestrator.engine.setting import Setting
from orchestrator.engine.status import epochs_trained
from orchestrator.engine.store import Store
from orchestrator.engine.watch import Watch
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]

# What a result says


def test_a_finished_trials_metrics_by_hand(make_spec: MakeSpec, folder: SweepFolder) -> None:
    """convnet at width 0.25: channels 4, 8, 16, so 36 + 288 + 1,152 + 160 = 1,636 prunable weights; biases 10 and
    batch norm 2 x (4 + 8 + 16) = 56 more. MACs of an 8x8 image: 36 x 64 + 288 x 64 + 1,152 x 16 + 160."""
    spec = make_spec(methods=[{"name": "random", "ratio": "uniform"}])
    result = only(run_all(folder, spec))
    assert result["status"] == "done"
    assert result["error"] is None
    kept = {layer["name"]: layer["kept"] for layer in result["layers"]}
    assert {layer["name"]: layer["weights"] for layer in result["layers"]} == {
        "conv1": 36, "conv2": 288, "conv3": 1152, "fc": 160,
    }  # fmt: skip
    assert sum(kept.values()) == 1636 - 1472  # 0.9 x 1,636 = 1,472.4
    metrics = result["metrics"]
    assert metrics["sparsity/global"] == pytest.approx(1472 / 1636, abs=1e-15)
    assert metrics["compression_ratio"] == pytest.approx(1702 / (1702 - 1472))
    assert metrics["macs/dense"] == 36 * 64 + 288 * 64 + 1152 * 16 + 160
    sparse = kept["conv1"] * 64 + kept["conv2"] * 64 + kept["conv3"] * 16 + kept["fc"]
    assert metrics["macs"] == pytest.approx(sparse)
    assert metrics["macs/speedup"] == pytest.approx(metrics["macs/dense"] / sparse)
    assert (metrics["cost/epochs"], metrics["cost/epochs_new"]) == (2, 2)
    assert metrics["cost/train_seconds"] > 0
    # every image once an epoch, but the last if it is alone: forward, and twice as much back, two FLOPs a MAC
    images = 2 * len(Setting(spec, spec.model[0]).data.train.labels)
    assert metrics["cost/train_flops"] == pytest.approx(2 * 3 * sparse * images)
    assert set(metrics) == set(METRICS)
    assert [record["epoch"] for record in result["history"]] == [1, 2]


def test_accuracy_is_measured_on_the_test_images_with_the_tickets_weights(
    make_spec: MakeSpec, folder: SweepFolder
) -> None:
    spec = make_spec(recipe={"epochs": 6, "batch": 64}, methods=["dense"])
    (trial, result), *_ = run_all(folder, spec).items()
    setting = Setting(spec, spec.model[0])
    net = build(spec.model[0], 10, (1, 8, 8), 0)
    net.load_state_dict(load_ticket(folder.trial(trial)).weights)
    data = setting.data
    images = torch.from_numpy(data.test.images[data.test.indices]).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(data.test.labels)
    with torch.no_grad():
        logits = net.eval()((images - data.mean[0]) / data.std[0])
    right = logits.argmax(1) == labels
    assert result["metrics"]["accuracy/test"] == pytest.approx(right.double().mean().item(), abs=1e-12)
    assert result["metrics"]["loss/test"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
    assert result["metrics"]["accuracy/test"] > 0.8
    packed = np.frombuffer(base64.b64decode(result["correct"]), np.uint8)
    assert np.unpackbits(packed, count=len(labels)).astype(bool).tolist() == right.tolist()


def test_a_result_says_what_it_is_of(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=[{"name": "random", "ratio": ["smart", "erk"]}], seeds=[4])
    found = run_all(folder, spec)
    plan = make_plan(spec)
    for trial, result in found.items():
        assert folder.result(trial) == result
        assert result["trial"] == trial
        assert result["key"] == plan.by_id[trial].chain.key
        assert (result["sweep"], result["model"], result["method"]) == ("small", "convnet-width0.25", "random")
        assert (result["sparsity"], result["seed"], result["data"], result["attempts"]) == (0.9, 4, "digits", 1)
        assert result["params"]["recipe.lr"] == 0.05
        assert result["params"]["model.width"] == 0.25
        assert [stage["key"] for stage in result["chain"]] == [r.key for r in plan.by_id[trial].chain.requests]
        assert result["started"] <= result["ended"]
        json.dumps(result, allow_nan=False)
    assert {result["options"]["ratio"] for result in found.values()} == {"smart", "erk"}
    assert len({result["label"] for result in found.values()}) == 2


def test_a_layer_without_weights_is_named(make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter) -> None:
    name = plugin("""
        def masks(bench, keep):
            ones = torch.arange(sum(l.weights for l in bench.layers)) < keep
            parts = ones.split([l.weights for l in bench.layers])
            return {l.name: part.reshape(l.shape) for l, part in zip(bench.layers, parts)}

        class Plugin(Method):
            def find(self, bench):
                return Ticket(bench.initialise(), bench.compute(masks, keep=164))
    """)
    result = only(run_all(folder, make_spec(methods=[name])))
    assert result["status"] == "done"
    assert [layer["kept"] for layer in result["layers"]] == [36, 128, 0, 0]
    assert result["collapsed"] == ["conv3", "fc"]


# Tickets


def test_a_tickets_file_holds_masks_start_and_trained_weights(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=[{"name": "one_shot", "rewind_to": "3it"}])
    (trial, result), *_ = run_all(folder, spec).items()
    ticket = load_ticket(folder.trial(trial))
    assert {name: int(mask.sum()) for name, mask in ticket.masks.items()} == {
        layer["name"]: layer["kept"] for layer in result["layers"]
    }
    names = set(build(spec.model[0], 10, (1, 8, 8), 0).state_dict())
    assert set(ticket.weights) == set(ticket.start) == names, "no optimiser's state"
    assert int(ticket.start["bn1.num_batches_tracked"]) == 3
    for name, mask in ticket.masks.items():
        assert mask.dtype == torch.bool
        assert not ticket.weights[f"{name}.weight"][~mask].any()
        assert ticket.start[f"{name}.weight"][~mask].any(), "the start is as it was, not masked"
    assert ticket.provenance["trial"] == trial
    assert ticket.provenance["key"] == result["key"]
    assert ticket.provenance["stages"] == [stage["key"] for stage in result["chain"]]


@pytest.mark.parametrize("content", [b"", b"no ticket at all"])
def test_what_is_no_ticket_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ticket.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"ticket\.safetensors: not a safetensors file"):
        load_ticket(tmp_path)
    with pytest.raises(FileNotFoundError, match="no ticket here; a trial that is done keeps it"):
        load_ticket(tmp_path / "elsewhere")


def test_a_stage_is_no_ticket(make_spec: MakeSpec, folder: SweepFolder) -> None:
    run_all(folder, make_spec())
    key = folder.store.stages()[0]
    with pytest.raises(ValueError, match="not a Jackpot ticket"):
        load_ticket(folder.store.path(key) / "data.safetensors")


# Costs


def test_epochs_new_of_all_trials_add_up_to_the_plans_distinct_epochs(make_spec: MakeSpec, folder: SweepFolder) -> None:
    """Whatever is shared, cut, or rewound; in the plan's order and against it."""
    rewound = {"name": "lottery", "rewind_to": ["0ep", "2it", "1ep"], "fraction": 0.4}
    spec = make_spec(
        recipe={"epochs": 2}, methods=["dense", rewound, {"name": "random", "ratio": "erk"}, "snip"],
        sparsities=[0.4, 0.7],
    )  # fmt: skip
    plan = make_plan(spec)
    assert plan.epochs_distinct < plan.epochs_requested
    planned = list(reversed(plan.planned))
    found = [run(folder, plan, each, spec) for each in planned]
    assert {result["status"] for result in found} == {"done"}
    new = sum(Fraction(result["metrics"]["cost/epochs_new"]).limit_denominator(6) for result in found)
    assert float(new) == pytest.approx(plan.epochs_distinct, abs=1e-12)
    for each, result in zip(planned, found, strict=True):
        assert result["metrics"]["cost/epochs"] == float(each.epochs)
    assert plan.epochs_missing(folder.store.has) == 0


def test_epochs_new_add_up_to_what_is_trained_where_a_rewinding_step_is_added(
    make_spec: MakeSpec, folder: SweepFolder
) -> None:
    done = run_all(folder, make_spec(methods=["dense"]))
    told: list[dict[str, Any]] = []
    spec = make_spec(
        methods=["dense", {"name": "lottery", "fraction": 0.6, "rewind_to": ["0ep", "1ep"]}], sparsities=[0.5]
    )
    plan = make_plan(spec).given(list(done), folder.store.has)
    left = [planned for planned in plan.planned if planned.id not in plan.done]
    found = [run(folder, plan, planned, spec, tell=told.append) for planned in left]
    # two tickets of 2 and 1 epochs, and the first epoch of the dense training once more, whose weights were not kept
    assert epochs_trained([told]) == 2 + 1 + 1
    assert sum(result["metrics"]["cost/epochs_new"] for result in found) == 2 + 1 + 1


def damage(store: Store, key: str) -> None:
    (store.path(key) / "data.safetensors").write_bytes(b"not what was trained")
    assert store.read(key) is None  # set aside


def test_a_damaged_training_is_the_cost_of_the_trial_that_it_was(make_spec: MakeSpec, folder: SweepFolder) -> None:
    """Also where that one has its result, and another makes the stage anew."""
    spec = make_spec(methods=["dense", {"name": "lottery", "fraction": 0.6}], sparsities=[0.5])
    calm = run_all(folder, spec)
    dense, ticket = sorted(calm, key=lambda trial: calm[trial]["method"])
    (shared,) = make_plan(spec).by_id[dense].chain.trainings
    damage(folder.store, shared.key)
    told: list[dict[str, Any]] = []
    plan = make_plan(spec).given([ticket], folder.store.has)
    assert plan.owners[shared.key] == dense
    again = run(folder, plan, plan.by_id[dense], spec, tell=told.append)
    assert epochs_trained([told]) == 2
    for name in ("cost/epochs", "cost/epochs_new", "cost/train_flops"):
        assert again["metrics"][name] == calm[dense]["metrics"][name]
    assert again["metrics"]["cost/epochs_new"] == 0


def test_costs_are_counted_where_a_training_was_just_set_aside(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=[{"name": "lottery", "fraction": 0.6}], sparsities=[0.5])
    (planned,) = make_plan(spec).planned
    trial, setting = planned.trial, Setting(spec, planned.trial.model)
    bench = TrialBench(
        setting, trial.method_class, trial.seed, trial.sparsity, folder.store, torch.device("cpu"),
        Watch(trial=planned.id),
    )  # fmt: skip
    follow(bench, trial.method, trial.arm.check, trial.tested)
    before = costs(bench, trial)
    assert (before["cost/epochs"], before["cost/epochs_new"]) == (4, 4)
    for request in planned.chain.trainings:
        damage(folder.store, request.key)
    assert costs(bench, trial) == before


def test_names_with_a_slash_are_weights_like_any_other(
    make_spec: MakeSpec, folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jackpot_slashed.py").write_text(
        "from torch import nn\n"
        "def make(num_classes):\n"
        "    net = nn.Sequential(nn.Flatten())\n"
        "    net.add_module('a/b', nn.Linear(64, num_classes))\n"
        "    return net\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = make_spec(model="jackpot_slashed:make", methods=[{"name": "lottery", "rewind_to": "7it"}], sparsities=[0.2])
    result = only(run_all(folder, spec))
    assert result["status"] == "done"
    assert "a/b.weight" in load_ticket(folder.trial(result["trial"])).weights


def test_a_trial_that_runs_again_computes_nothing_and_says_the_same(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=["lottery"], sparsities=[0.36])
    told: list[dict[str, Any]] = []
    first = only(run_all(folder, spec))
    again = only(run_all(folder, spec, tell=told.append))
    assert told == []
    differing = {"started", "ended", "waited_seconds"}
    assert {k: v for k, v in first.items() if k not in differing} == {
        k: v for k, v in again.items() if k not in differing
    }


def test_an_extended_sweep_trains_only_what_is_new(make_spec: MakeSpec, folder: SweepFolder) -> None:
    run_all(folder, make_spec(methods=["lottery"], sparsities=[0.36]))
    told: list[dict[str, Any]] = []
    found = run_all(folder, make_spec(methods=["lottery"], sparsities=[0.36, 0.488]), tell=told.append)
    assert len(found) == 2
    assert sum(event.get("steps", 0) for event in told) == 2 * 6
