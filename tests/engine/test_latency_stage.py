"""Latency as a stage: measured once for each structure and kind of device, in silence, and a part of the result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trial_benches import CPU, trial_bench
from trial_runs import only, run_all

from orchestrator.engine import latency, nets, speed
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.latency import Timed
from orchestrator.engine.plan import make_plan
from orchestrator.engine.quiet import Quiet
from orchestrator.engine.results import results, write_csv
from orchestrator.engine.setting import Setting
from orchestrator.engine.status import busy_share
from orchestrator.engine.structures import Subject
from orchestrator.engine.watch import Watch
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]


def made_up(**changes: Any) -> dict[str, Any]:
    """What `latency.measure` finds of one network."""
    return {
        "ms": 1.0, "dense_ms": 1.0, "speedup": 1.0, "interval": [1.0, 1.0], "noisy": False, "disturbed": [],
        "control": {"speedup": 1.0, "interval": [0.99, 1.01]}, **changes,
    }  # fmt: skip


QUICK = {"batches": [1, 4], "seconds": 0.01}
NUMBERS = ("latency/ms", "latency/dense_ms", "latency/speedup", "memory/peak_mb")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes that were really measured, in order."""
    batches: list[int] = []
    real = latency.measure

    def measure(dense: Timed, control: Timed, others: dict[str, Timed], seconds: float) -> dict:
        batches.append(len(dense.images))
        return real(dense, control, others, seconds)

    monkeypatch.setattr(latency, "measure", measure)
    return batches


def test_masked_networks_share_the_latency_of_their_dense_structure(
    make_spec: MakeSpec, folder: SweepFolder, measured: list[int]
) -> None:
    spec = make_spec(methods=["dense", "random", "snip"], latency=QUICK)
    found = run_all(folder, spec)
    assert measured == [1, 4], "once for all trials"
    assert len({repr(result["latency"]) for result in found.values()}) == 1
    for result in found.values():
        for batch, record in zip((1, 4), result["latency"], strict=True):
            numbers = {name: result["metrics"][f"{name}/b{batch}"] for name in NUMBERS}
            assert numbers["latency/ms"] == numbers["latency/dense_ms"] == record["ms"] > 0
            assert numbers["latency/speedup"] == 1.0, "masks alone make nothing faster"
            assert numbers["memory/peak_mb"] > 0
            assert record["threads"] == torch.get_num_threads()
            assert record["device"] == latency.device_name(CPU)


def test_the_table_holds_what_was_measured(make_spec: MakeSpec, folder: SweepFolder) -> None:
    run_all(folder, make_spec(latency=QUICK))
    table = results(folder)
    assert {f"{name}/b{batch}" for name in NUMBERS for batch in (1, 4)} <= set(table)
    assert "latency/ms/b4" in write_csv(folder).read_text().splitlines()[0]


def test_another_network_is_measured_by_itself(make_spec: MakeSpec, folder: SweepFolder, measured: list[int]) -> None:
    spec = make_spec(model=[{"name": "convnet", "width": width} for width in (0.25, 0.5)], latency=QUICK)
    found = list(run_all(folder, spec).values())
    assert measured == [1, 4, 1, 4]
    assert found[0]["latency"][0]["structure"] != found[1]["latency"][0]["structure"]


def test_it_can_be_left_out(make_spec: MakeSpec, folder: SweepFolder, measured: list[int]) -> None:
    result = only(run_all(folder, make_spec(latency={"enabled": False})))
    assert (result["status"], result["latency"], measured) == ("done", [], [])
    assert not [name for name in result["metrics"] if name.startswith("latency")]


def test_asked_for_later_it_is_measured_and_nothing_is_trained(
    make_spec: MakeSpec, folder: SweepFolder, measured: list[int]
) -> None:
    run_all(folder, make_spec(latency={"enabled": False}))
    trained = folder.store.stages()
    told: list[dict] = []
    result = only(run_all(folder, make_spec(latency=QUICK), tell=told.append))
    assert measured == [1, 4]
    assert {event["kind"] for event in told} == {"latency", "measure"}
    assert set(trained) < set(folder.store.stages())
    assert result["metrics"]["latency/ms/b1"] > 0


def test_a_batch_that_does_not_fit_costs_the_trial_nothing(
    make_spec: MakeSpec, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(dense: Timed, control: Timed, others: dict[str, Timed], seconds: float) -> dict:
        if len(dense.images) > 1:
            raise torch.OutOfMemoryError("tried to allocate too much\nand more")
        return {"dense": made_up()}

    monkeypatch.setattr(latency, "measure", measure)
    result = only(run_all(folder, make_spec(latency=QUICK)))
    assert result["status"] == "done"
    assert result["metrics"]["latency/ms/b1"] == 1.0
    assert "latency/ms/b4" not in result["metrics"]
    assert result["latency"][1]["error"] == "OutOfMemoryError: tried to allocate too much"


def test_a_method_asks_the_same_stage(make_spec: MakeSpec, tmp_path: Path, measured: list[int]) -> None:
    spec = make_spec(latency={**QUICK, "enabled": False})
    benches = [trial_bench(spec, tmp_path, method=method) for method in ("random", "snip")]
    values = [bench.value(bench.latency(bench.initialise()).key) for bench in benches]
    assert measured == [1, 4]
    assert values[0]["ms/b1"].dtype == torch.float64
    assert values[0] == values[1]
    assert set(values[0]) == {f"{name}/b{batch}" for name in speed.NAMES for batch in (1, 4)}


def test_its_name_in_a_plan_knows_no_device(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(latency=QUICK)
    (planned,) = make_plan(spec).planned
    kinds = [request.kind for request in planned.chain.requests]
    assert kinds[-2:] == ["evaluate", "latency"]
    other = make_plan(make_spec(latency={**QUICK, "batches": [2]})).planned[0]
    assert [r.key for r in planned.chain.requests][:-1] == [r.key for r in other.chain.requests][:-1]
    assert planned.chain.key != other.chain.key, "a result of other batch sizes does not stand"


def test_what_a_measurement_is_known_by(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(latency=QUICK)
    setting = Setting(spec, spec.model[0])
    weights = dict(setting.skeleton.state_dict())
    key = Subject(setting, weights, CPU).key("dense")
    assert key == Subject(setting, {n: w.clone() for n, w in weights.items()}, CPU).key("dense")
    wider = Setting(make_spec(latency={**QUICK, "runtimes": ["dense", "compact"]}), spec.model[0])
    assert key == Subject(wider, weights, CPU).key("dense"), "what else is measured makes no difference to it"
    monkeypatch.setattr(latency, "device_name", lambda device: "another processor")
    assert key != Subject(setting, weights, CPU).key("dense")


def test_small_maps_are_in_torchs_own_format_in_batches_in_eager_torch_alone(make_spec: MakeSpec) -> None:
    spec = make_spec(data={"name": "fake", "shape": [3, 32, 32]}, model={"name": "vgg11"})
    weights = nets.build(spec.model[0], 10, (3, 32, 32), seed=0).state_dict()
    subject = Subject(Setting(spec, spec.model[0]), weights, CPU)
    subject.compact = SimpleNamespace(changed=False)  # it is not asked what else it is
    placed = {
        "eager": (subject.own(64), subject._compact(eager=True, batch=64)),
        "another": (subject.own(1), subject._compact(True, 1), subject._compact(False, 64), subject._compact(False, 1)),
    }
    for kind, own in placed.items():
        for net in own:
            hooks = [module for module in net.modules() if module._forward_pre_hooks]
            assert len(hooks) == (4 if kind == "eager" else 0)
            weights = [parameter for parameter in net.parameters() if parameter.dim() == 4]
            there = sum(each.is_contiguous(memory_format=torch.channels_last) for each in weights)
            assert there == len(weights) - len(hooks)


def test_training_pauses_while_it_is_measured(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(recipe={"epochs": 400}, latency=QUICK)
    told: list[dict] = []
    end = threading.Event()
    watch = Watch(tell=lambda event: told.append(event | {"time": time.time()}), stopping=end.is_set)
    bench: TrialBench = trial_bench(spec, tmp_path, watch)

    def train() -> None:
        from orchestrator.engine.watch import Stopped

        with pytest.raises(Stopped):
            bench.train(bench.initialise())

    thread = threading.Thread(target=train)
    thread.start()
    while not any("step" in event for event in told):
        time.sleep(0.01)
    try:
        with Quiet().alone():
            paused = len(told)
            assert told[-1]["waiting"] == "a latency being measured on this machine"
            time.sleep(0.3)
            assert len(told) == paused, "not an epoch meanwhile"
        while len(told) < paused + 3:
            time.sleep(0.01)
    finally:
        end.set()
        thread.join()
    assert watch.quiet.paused > 0.25
    events = [{"begin": "a", "run": "r", "slots": 1, "time": told[0]["time"] - 1}, *told]
    later = [{"begin": "b", "run": "r", "slots": 1, "time": told[-1]["time"]}]
    _, busy = busy_share([events, later])
    assert busy is not None
    lived = told[-1]["time"] - told[0]["time"] + 1
    assert busy < 1 - 0.25 / lived, "the pause is no work"
