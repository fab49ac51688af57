"""The bench of a running trial: same bits whatever cuts, stops, kills and damage came between; real digits."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from methods import registry
from methods.step import Step
from orchestrator.engine import bench as bench_module
from orchestrator.engine.bench import Blocked, StageFailed, Stopped, TrialBench, Watch
from orchestrator.engine.nets import build
from orchestrator.engine.plan import make_plan
from orchestrator.engine.planning import follow, training_key
from orchestrator.engine.setting import Setting
from orchestrator.engine.store import Store
from orchestrator.engine.train import Diverged, weights_of
from orchestrator.spec.models import Model, Spec

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]
CPU = torch.device("cpu")
fork = multiprocessing.get_context("fork")


def _bench(
    spec: Spec, folder: Path, watch: Watch | None = None, method: str = "random", sparsity: str = "0.9", seed: int = 0
) -> TrialBench:
    setting = Setting(spec, spec.model[0])
    return TrialBench(setting, registry.get(method), seed, Decimal(sparsity), Store(folder), CPU, watch)


def _dense(bench: TrialBench) -> dict[str, torch.Tensor]:
    return weights_of(bench.value(bench.train(bench.initialise()).key))


def _same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def spec(make_spec: MakeSpec) -> Spec:
    return make_spec(recipe={"epochs": 3, "augmentation": {"crop": 1}})


@pytest.fixture
def undisturbed(spec: Spec, tmp_path: Path) -> dict[str, torch.Tensor]:
    return _dense(_bench(spec, tmp_path / "undisturbed"))


# Stages


def test_a_stage_is_made_once(spec: Spec, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    first = _bench(spec, tmp_path, Watch(tell=told.append))
    weights = _dense(first)
    assert [event["kind"] for event in told if "step" not in event] == ["initialise", "train"]
    assert sum(event.get("steps", 0) for event in told) == 18
    told.clear()
    second = _bench(spec, tmp_path, Watch(tell=told.append))
    assert _same(_dense(second), weights)
    assert told == []


def test_a_training_is_recorded(spec: Spec, tmp_path: Path) -> None:
    bench = _bench(spec, tmp_path, Watch(trial="mine"))
    meta = bench.meta(bench.train(bench.initialise()).key)
    assert (meta["kind"], meta["steps"], meta["trial"]) == ("train", 18, "mine")
    assert meta["seconds"] > 0
    assert [record["epoch"] for record in meta["history"]] == [1, 2, 3]
    assert set(meta["history"][0]) == {"epoch", "lr", "loss/train", "loss/val", "accuracy/val", "time"}
    losses = [record["loss/train"] for record in meta["history"]]
    assert losses == sorted(losses, reverse=True)


def test_seeds_give_other_weights(spec: Spec, tmp_path: Path) -> None:
    left, right = _bench(spec, tmp_path, seed=0), _bench(spec, tmp_path, seed=1)
    assert not _same(left.value(left.initialise().key), right.value(right.initialise().key))


def test_cuts_change_no_bit(spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor]) -> None:
    """Steps that other trials need, mid-epoch and at an epoch's end, are kept on the way past."""
    run = _run_of_dense(spec)
    bench = _bench(spec, tmp_path, Watch(trial="me", cuts={run: [4, 6, 13, 18]}, owners={training_key(run, 6): "you"}))
    assert _same(_dense(bench), undisturbed)
    metas = [bench.store.meta(training_key(run, step)) or {} for step in (4, 6, 13, 18)]
    assert [meta["steps"] for meta in metas] == [4, 2, 7, 5]
    assert [meta["trial"] for meta in metas] == ["me", "you", "me", "me"]
    assert [len(meta["history"]) for meta in metas] == [0, 1, 2, 3]
    plain = _bench(spec, tmp_path / "undisturbed")
    whole = plain.meta(training_key(run, 18))
    assert [{**record, "time": 0} for record in metas[3]["history"]] == [
        {**record, "time": 0} for record in whole["history"]
    ]


def _run_of_dense(spec: Spec) -> str:
    (planned,) = make_plan(spec.model_copy(update={"methods": [type(spec.methods[0])(name="dense")]})).planned
    return planned.chain.trainings[0].run


def test_the_end_of_a_schedule_is_kept_without_the_optimisers_state(spec: Spec, tmp_path: Path) -> None:
    bench = _bench(spec, tmp_path)
    half = bench.train(bench.initialise(), until=Step.parse("1ep"))
    assert any(name.startswith("optimiser/") for name in bench.value(half.key))
    whole = bench.train(bench.initialise())
    assert not any("/" in name for name in bench.value(whole.key))


def test_training_on_from_rewound_weights_starts_with_a_fresh_optimiser(spec: Spec, tmp_path: Path) -> None:
    """As under masks, where weights alone are rewound: not what a run that went on would give."""
    bench = _bench(spec, tmp_path)
    half = bench.train(bench.initialise(), until=Step.parse("1ep"))
    on = weights_of(bench.value(bench.train(half).key))
    assert not _same(on, _dense(bench))


# Stops


class _StopAfter:
    """Asks to stop after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("looks", [[5], [8], [9, 3], [19], [3, 3, 3, 3]], ids=str)
def test_a_stopped_training_goes_on_with_the_same_bits(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], looks: list[int]
) -> None:
    trained = 0
    for count in looks:
        told: list[dict[str, Any]] = []
        with pytest.raises(Stopped):
            _dense(_bench(spec, tmp_path, Watch(stopping=_StopAfter(count), tell=told.append)))
        trained += sum(event.get("steps", 0) for event in told)
    assert trained > 0
    told = []
    bench = _bench(spec, tmp_path, Watch(tell=told.append))
    assert _same(_dense(bench), undisturbed)
    assert trained + sum(event.get("steps", 0) for event in told) == 18, "no step is trained twice"
    assert bench.meta(bench.train(bench.initialise()).key)["steps"] == 18
    assert not list((tmp_path / "checkpoints").iterdir())


def test_checkpoints_at_every_step_change_no_bit(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "CHECKPOINT_SECONDS", -1.0)
    told: list[dict[str, Any]] = []
    assert _same(_dense(_bench(spec, tmp_path, Watch(tell=told.append))), undisturbed)
    assert sum(event.get("steps", 0) for event in told) == 18


def test_a_checkpoint_before_a_later_cut_is_not_gone_back_to(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    """A run stopped at step 5 is planned anew with a cut at step 12, for a trial that was added."""
    with pytest.raises(Stopped):
        _dense(_bench(spec, tmp_path, Watch(stopping=_StopAfter(7))))
    run = _run_of_dense(spec)
    told: list[dict[str, Any]] = []
    bench = _bench(spec, tmp_path, Watch(cuts={run: [12, 18]}, tell=told.append))
    assert _same(_dense(bench), undisturbed)
    assert sum(event.get("steps", 0) for event in told) == 18
    assert [(bench.store.meta(training_key(run, step)) or {})["steps"] for step in (12, 18)] == [12, 6]


# Damage


@pytest.mark.parametrize("file", ["data.safetensors", "stage.json"])
def test_a_damaged_stage_is_made_again_with_the_same_bits(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], file: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = _bench(spec, tmp_path)
    trained = bench.train(bench.initialise())
    for key in (bench.initialise().key, trained.key):
        path = bench.store.path(key) / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        assert _same(_dense(_bench(spec, tmp_path)), undisturbed)
    assert caplog.text.count("stage set aside as") == 2


def test_a_stage_that_is_damaged_while_a_trial_runs_is_made_again(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    bench = _bench(spec, tmp_path)
    trained = bench.train(bench.initialise())
    (bench.store.path(trained.key) / "data.safetensors").write_bytes(b"torn")
    assert _same(weights_of(bench.value(trained.key)), undisturbed)


def test_a_damaged_checkpoint_is_passed_over(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stopped):
        _dense(_bench(spec, tmp_path, Watch(stopping=_StopAfter(9))))
    (checkpoint,) = tmp_path.glob("checkpoints/*/*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert _same(_dense(_bench(spec, tmp_path)), undisturbed)
    assert "does not match its checksum and is left out" in caplog.text


# Several processes


def _train_until_killed(spec: Spec, folder: Path, checkpointed: Any) -> None:
    bench_module.CHECKPOINT_SECONDS = -1.0

    def hang(event: dict[str, Any]) -> None:
        if event.get("step", 0) >= 8:
            checkpointed.set()
            time.sleep(60)

    _dense(_bench(spec, folder, Watch(tell=hang)))


def test_a_stage_in_the_making_is_waited_for_and_taken_over_when_its_process_is_killed(
    spec: Spec, tmp_path: Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    checkpointed = fork.Event()
    child = fork.Process(target=_train_until_killed, args=(spec, tmp_path, checkpointed))
    child.start()
    told: list[dict[str, Any]] = []

    def kill_once_waiting(event: dict[str, Any]) -> None:
        told.append(event)
        if "waiting" in event and child.is_alive() and len(told) > 2:
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()

    try:
        assert checkpointed.wait(60)
        bench = _bench(spec, tmp_path, Watch(tell=kill_once_waiting))
        assert _same(_dense(bench), undisturbed)
    finally:
        child.kill()
        child.join()
    assert sum(event.get("steps", 0) for event in told) == 10, "what the child had kept is not trained again"
    assert bench.waited > 0.1


def _train_both(spec: Spec, folder: Path, seed: int, told: Any) -> None:
    events: list[dict[str, Any]] = []
    _dense(_bench(spec, folder, Watch(trial=f"t{os.getpid()}", tell=events.append), seed=seed))
    told.put(sum(event.get("steps", 0) for event in events))


def test_two_processes_that_need_one_stage_train_it_once(spec: Spec, tmp_path: Path) -> None:
    told = fork.SimpleQueue()
    processes = [fork.Process(target=_train_both, args=(spec, tmp_path, 0, told)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted([told.get(), told.get()]) == [0, 18]


def test_a_stop_ends_a_wait(spec: Spec, tmp_path: Path) -> None:
    bench = _bench(spec, tmp_path, Watch(stopping=_StopAfter(4)))
    key = bench_key = make_plan(spec).planned[0].chain.requests[0].key
    with Store(tmp_path).claim(bench_key) as mine:
        assert mine
        with pytest.raises(Stopped):
            bench.initialise()
    assert not bench.store.has(key)


# Failures

FAILING = """
def masks(bench):
    raise KeyError("no such thing")

class Plugin(Method):
    def find(self, bench):
        return Ticket(bench.initialise(), bench.compute(masks))
"""


def test_a_failed_stage_blocks_other_trials_of_the_same_run_alone(
    make_spec: MakeSpec, plugin: PluginWriter, tmp_path: Path
) -> None:
    name = plugin(FAILING)
    spec = make_spec(methods=[name])

    def find(trial: str, run: str) -> None:
        registry.get(name)().find(_bench(spec, tmp_path, Watch(trial=trial, run=run), method=name))

    with pytest.raises(StageFailed) as failed:
        find("first", "run 1")
    assert isinstance(failed.value.__cause__, KeyError)
    with pytest.raises(Blocked) as blocked:
        find("second", "run 1")
    assert blocked.value.by == "first"
    assert blocked.value.key == failed.value.key
    with pytest.raises(StageFailed):  # its own trial may try again
        find("first", "run 1")
    with pytest.raises(StageFailed):  # and so may a new run
        find("second", "run 2")


def test_a_waiting_trial_is_blocked_when_the_stage_fails(
    make_spec: MakeSpec, plugin: PluginWriter, tmp_path: Path
) -> None:
    name = plugin(FAILING.replace("raise", "import time; time.sleep(1.5); raise"))
    spec = make_spec(methods=[name])

    def find(trial: str, tell: Any = lambda event: None) -> None:
        registry.get(name)().find(_bench(spec, tmp_path, Watch(trial=trial, tell=tell), method=name))

    def begin(started: Any) -> None:
        with pytest.raises(StageFailed):
            find("first", lambda event: started.set() if event["kind"] == "compute" else None)

    started = fork.Event()
    child = fork.Process(target=begin, args=(started,))
    child.start()
    assert started.wait(30)
    told: list[dict[str, Any]] = []
    with pytest.raises(Blocked, match="failed in trial first"):
        find("second", told.append)
    child.join(30)
    assert child.exitcode == 0
    assert any(event.get("waiting") for event in told)


def test_a_divergence_is_kept_as_the_stages_result(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(recipe={"lr": 1e30})
    messages = []
    for _ in range(2):
        told: list[dict[str, Any]] = []
        bench = _bench(spec, tmp_path, Watch(tell=told.append))
        with pytest.raises(Diverged) as diverged:
            bench.train(bench.initialise())
        messages.append(str(diverged.value))
    assert messages[0] == messages[1]
    assert "not finite at step" in messages[0]
    assert told == [], "it is answered, not trained again"


# Given weights


def test_given_weights_replace_initialisation_and_dense_training(make_spec: MakeSpec, tmp_path: Path) -> None:
    net = build(Model.model_validate({"name": "convnet", "width": 0.25}), 10, (1, 8, 8), 3)
    given = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(given, tmp_path / "given.safetensors")
    spec = make_spec(model={"name": "convnet", "width": 0.25, "weights": str(tmp_path / "given.safetensors")})
    told: list[dict[str, Any]] = []
    bench = _bench(spec, tmp_path, Watch(tell=told.append), seed=9)
    start = bench.initialise()
    assert _same(bench.value(start.key), given)
    assert bench.train(start) == start
    assert [event["kind"] for event in told] == ["initialise"]


# What the whole of a trial asks for


@pytest.mark.parametrize("method", ["dense", "random", "snip", "lottery"])
def test_a_trial_asks_for_what_was_planned(make_spec: MakeSpec, tmp_path: Path, method: str) -> None:
    spec = make_spec(recipe={"epochs": 1}, methods=[method], sparsities=[0.36])
    (planned,) = make_plan(spec).planned
    bench = _bench(spec, tmp_path, method=method, sparsity=str(planned.trial.sparsity))
    assert follow(bench, planned.trial.method) == planned.chain
    assert sorted(bench.store.stages()) == sorted(request.key for request in planned.chain.requests)
