"""A stage that other processes make, hold, or fail at: trained once, waited for, taken over, or blocked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trial_benches import StopAfter, dense, same, trial_bench

from methods import registry
from orchestrator.engine import training
from orchestrator.engine.plan import make_plan
from orchestrator.engine.store import Store
from orchestrator.engine.train import Diverged
from orchestrator.engine.watch import Blocked, StageFailed, Stopped, Watch
from orchestrator.spec.models import Spec

# a stop is asked for after so many looks
pytestmark = pytest.mark.usefixtures("hears_nobody")

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]
fork = multiprocessing.get_context("fork")

# Several processes


def _train_until_killed(spec: Spec, folder: Path, checkpointed: Any) -> None:
    training.CHECKPOINT_SECONDS = -1.0

    def hang(event: dict[str, Any]) -> None:
        if event.get("step", 0) >= 8:
            checkpointed.set()
            time.sleep(60)

    dense(trial_bench(spec, folder, Watch(tell=hang)))


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
        bench = trial_bench(spec, tmp_path, Watch(tell=kill_once_waiting))
        assert same(dense(bench), undisturbed)
    finally:
        child.kill()
        child.join()
    assert sum(event.get("steps", 0) for event in told) == 10, "what the child had kept is not trained again"
    assert bench.watch.waited > 0.1


def _train_both(spec: Spec, folder: Path, seed: int, told: Any) -> None:
    events: list[dict[str, Any]] = []
    dense(trial_bench(spec, folder, Watch(trial=f"t{os.getpid()}", tell=events.append), seed=seed))
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
    bench = trial_bench(spec, tmp_path, Watch(stopping=StopAfter(4)))
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
        registry.get(name)().find(trial_bench(spec, tmp_path, Watch(trial=trial, run=run), method=name))

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
        registry.get(name)().find(trial_bench(spec, tmp_path, Watch(trial=trial, tell=tell), method=name))

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
        bench = trial_bench(spec, tmp_path, Watch(tell=told.append))
        with pytest.raises(Diverged) as diverged:
            bench.train(bench.initialise())
        messages.append(str(diverged.value))
    assert messages[0] == messages[1]
    assert "not finite at step" in messages[0]
    assert told == [], "it is answered, not trained again"
