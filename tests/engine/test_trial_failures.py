"""Ways a trial can end without a ticket."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from trial_runs import only, run, run_all

from orchestrator.engine import bench as bench_module
from orchestrator.engine import train as train_module
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.status import epochs_trained
from orchestrator.engine.train import Trainer
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Stopped, Watch
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]


def test_removed_weights_that_trained_fail_the_trial(
    make_spec: MakeSpec, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "Trainer", lambda *args: Trainer(*args[:6]))  # forgets the masks
    result = only(run_all(folder, make_spec()))
    assert result["status"] == "failed"
    assert result["error"]["message"] == "removed weights of layer 'conv1' are not zero after training"


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
