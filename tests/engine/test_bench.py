"""The bench of a running trial: same bits whatever cuts, stops and damage came between; real digits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from trial_benches import StopAfter, dense, same, trial_bench

from methods.step import Step
from orchestrator.engine import training
from orchestrator.engine.chain import follow
from orchestrator.engine.nets import build
from orchestrator.engine.plan import make_plan
from orchestrator.engine.request import training_key
from orchestrator.engine.train import weights_of
from orchestrator.engine.watch import Stopped, Watch
from orchestrator.spec.models import Model, Spec

# a stop is asked for after so many looks
pytestmark = pytest.mark.usefixtures("hears_nobody")

MakeSpec = Callable[..., Spec]

# Stages


def test_a_stage_is_made_once(spec: Spec, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    first = trial_bench(spec, tmp_path, Watch(tell=told.append))
    weights = dense(first)
    assert [event["kind"] for event in told if "step" not in event] == ["initialise", "train"]
    assert sum(event.get("steps", 0) for event in told) == 18
    told.clear()
    second = trial_bench(spec, tmp_path, Watch(tell=told.append))
    assert same(dense(second), weights)
    assert told == []


def test_a_training_is_recorded(spec: Spec, tmp_path: Path) -> None:
    bench = trial_bench(spec, tmp_path, Watch(trial="mine"))
    meta = bench.meta(bench.train(bench.initialise()).key)
    assert (meta["kind"], meta["steps"], meta["trial"]) == ("train", 18, "mine")
    assert meta["seconds"] > 0
    assert [record["epoch"] for record in meta["history"]] == [1, 2, 3]
    assert set(meta["history"][0]) == {"epoch", "lr", "loss/train", "loss/val", "accuracy/val", "time"}
    losses = [record["loss/train"] for record in meta["history"]]
    assert losses == sorted(losses, reverse=True)


def test_seeds_give_other_weights(spec: Spec, tmp_path: Path) -> None:
    left, right = trial_bench(spec, tmp_path, seed=0), trial_bench(spec, tmp_path, seed=1)
    assert not same(left.value(left.initialise().key), right.value(right.initialise().key))


def test_cuts_change_no_bit(spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor]) -> None:
    """Steps that other trials need, mid-epoch and at an epoch's end, are kept on the way past."""
    run = _run_of_dense(spec)
    bench = trial_bench(
        spec, tmp_path, Watch(trial="me", cuts={run: [4, 6, 13, 18]}, owners={training_key(run, 6): "you"})
    )
    assert same(dense(bench), undisturbed)
    metas = [bench.store.meta(training_key(run, step)) or {} for step in (4, 6, 13, 18)]
    assert [meta["steps"] for meta in metas] == [4, 2, 7, 5]
    assert [meta["trial"] for meta in metas] == ["me", "you", "me", "me"]
    assert [len(meta["history"]) for meta in metas] == [0, 1, 2, 3]
    plain = trial_bench(spec, tmp_path / "undisturbed")
    whole = plain.meta(training_key(run, 18))
    assert [{**record, "time": 0} for record in metas[3]["history"]] == [
        {**record, "time": 0} for record in whole["history"]
    ]


def _run_of_dense(spec: Spec) -> str:
    (planned,) = make_plan(spec.model_copy(update={"methods": [type(spec.methods[0])(name="dense")]})).planned
    return planned.chain.trainings[0].run


def test_the_end_of_a_schedule_is_kept_without_the_optimisers_state(spec: Spec, tmp_path: Path) -> None:
    bench = trial_bench(spec, tmp_path)
    half = bench.train(bench.initialise(), until=Step.parse("1ep"))
    assert any(name.startswith("optimiser/") for name in bench.value(half.key))
    whole = bench.train(bench.initialise())
    assert not any("/" in name for name in bench.value(whole.key))


def test_training_on_from_rewound_weights_starts_with_a_fresh_optimiser(spec: Spec, tmp_path: Path) -> None:
    """As under masks, where weights alone are rewound: not what a run that went on would give."""
    bench = trial_bench(spec, tmp_path)
    half = bench.train(bench.initialise(), until=Step.parse("1ep"))
    on = weights_of(bench.value(bench.train(half).key))
    assert not same(on, dense(bench))


# Stops


@pytest.mark.parametrize("looks", [[5], [8], [9, 3], [19], [3, 3, 3, 3]], ids=str)
def test_a_stopped_training_goes_on_with_the_same_bits(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], looks: list[int]
) -> None:
    trained = 0
    for count in looks:
        told: list[dict[str, Any]] = []
        with pytest.raises(Stopped):
            dense(trial_bench(spec, tmp_path, Watch(stopping=StopAfter(count), tell=told.append)))
        trained += sum(event.get("steps", 0) for event in told)
    assert trained > 0
    told = []
    bench = trial_bench(spec, tmp_path, Watch(tell=told.append))
    assert same(dense(bench), undisturbed)
    assert trained + sum(event.get("steps", 0) for event in told) == 18, "no step is trained twice"
    assert bench.meta(bench.train(bench.initialise()).key)["steps"] == 18
    assert not list((tmp_path / "checkpoints").iterdir())


def test_checkpoints_at_every_step_change_no_bit(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    told: list[dict[str, Any]] = []
    assert same(dense(trial_bench(spec, tmp_path, Watch(tell=told.append))), undisturbed)
    assert sum(event.get("steps", 0) for event in told) == 18


def test_a_checkpoint_before_a_later_cut_is_not_gone_back_to(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    """A run stopped at step 5 is planned anew with a cut at step 12, for a trial that was added."""
    with pytest.raises(Stopped):
        dense(trial_bench(spec, tmp_path, Watch(stopping=StopAfter(7))))
    run = _run_of_dense(spec)
    told: list[dict[str, Any]] = []
    bench = trial_bench(spec, tmp_path, Watch(cuts={run: [12, 18]}, tell=told.append))
    assert same(dense(bench), undisturbed)
    assert sum(event.get("steps", 0) for event in told) == 18
    assert [(bench.store.meta(training_key(run, step)) or {})["steps"] for step in (12, 18)] == [12, 6]


# Damage


@pytest.mark.parametrize("file", ["data.safetensors", "stage.json"])
def test_a_damaged_stage_is_made_again_with_the_same_bits(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], file: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = trial_bench(spec, tmp_path)
    trained = bench.train(bench.initialise())
    for key in (bench.initialise().key, trained.key):
        path = bench.store.path(key) / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        assert same(dense(trial_bench(spec, tmp_path)), undisturbed)
    assert caplog.text.count("stage set aside as") == 2


def test_a_stage_that_is_damaged_while_a_trial_runs_is_made_again(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    bench = trial_bench(spec, tmp_path)
    trained = bench.train(bench.initialise())
    (bench.store.path(trained.key) / "data.safetensors").write_bytes(b"torn")
    assert same(weights_of(bench.value(trained.key)), undisturbed)


def test_a_damaged_checkpoint_is_passed_over(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stopped):
        dense(trial_bench(spec, tmp_path, Watch(stopping=StopAfter(9))))
    (checkpoint,) = tmp_path.glob("checkpoints/*/*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert same(dense(trial_bench(spec, tmp_path)), undisturbed)
    assert "checkpoint is left out" in caplog.text
    assert "does not match its checksum" in caplog.text


# Given weights


def test_given_weights_replace_initialisation_and_dense_training(make_spec: MakeSpec, tmp_path: Path) -> None:
    net = build(Model.model_validate({"name": "convnet", "width": 0.25}), 10, (1, 8, 8), 3)
    given = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(given, tmp_path / "given.safetensors")
    spec = make_spec(model={"name": "convnet", "width": 0.25, "weights": str(tmp_path / "given.safetensors")})
    told: list[dict[str, Any]] = []
    bench = trial_bench(spec, tmp_path, Watch(tell=told.append), seed=9)
    start = bench.initialise()
    assert same(bench.value(start.key), given)
    assert bench.train(start) == start
    assert [event["kind"] for event in told] == ["initialise"]


# What the whole of a trial asks for


@pytest.mark.parametrize("method", ["dense", "random", "snip", "lottery"])
def test_a_trial_asks_for_what_was_planned(make_spec: MakeSpec, tmp_path: Path, method: str) -> None:
    spec = make_spec(recipe={"epochs": 1}, methods=[method], sparsities=[0.36])
    (planned,) = make_plan(spec).planned
    bench = trial_bench(spec, tmp_path, method=method, sparsity=str(planned.trial.sparsity))
    assert follow(bench, planned.trial.method) == planned.chain
    assert sorted(bench.store.stages()) == sorted(request.key for request in planned.chain.requests)
