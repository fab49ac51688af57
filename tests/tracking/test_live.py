"""A trial that runs, as MLflow shows it: from its events alone, written here as a worker writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_sweeps import add, runs

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.spec.models import Tracking
from orchestrator.tracking.client import connect
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.where import own_database

Make = Callable[..., Path]
TRIAL = "convnet_random_s90_seed5"


def plan(folder: Path, run: str) -> None:
    """The plan of a run of the sweep, with one trial that has no result."""
    row = {"trial": TRIAL, "key": "ab" * 32, "model": "convnet", "label": "random-smart", "sparsity": 0.9, "seed": 5}
    write_sealed(folder / "plan.json", {"run": run, "planned": [row]})


def begin(folder: Path, run: str) -> None:
    """The trial begins, in a run of the sweep."""
    SweepFolder(folder).tell(TRIAL, {"begin": "ab" * 32, "pid": 1, "run": run, "slots": 2})


def epoch(folder: Path, number: int) -> None:
    """The trial ends an epoch."""
    told = {"stage": "s", "kind": "train", "epoch": number, "accuracy/val": 0.1 * number, "loss/train": 1 / number}
    SweepFolder(folder).tell(TRIAL, told | {"steps": 6, "per_epoch": 6})


def running(folder: Path) -> Tracker:
    """The trial has ended an epoch of the first run of the sweep, and MLflow was told."""
    plan(folder, "first")
    begin(folder, "first")
    epoch(folder, 1)
    tracker = Tracker(folder, "tiny", Tracking())
    tracker.sync(status="RUNNING")
    return tracker


def the_run(folder: Path) -> Any:
    """The only run of the trial."""
    (run,) = runs(own_database(folder))[TRIAL]
    return run


def course(folder: Path) -> list[tuple[int, float]]:
    """The steps and values that MLflow has of the running trial's accuracy."""
    client = connect(own_database(folder))
    points = client.get_metric_history(the_run(folder).info.run_id, "course/accuracy/val")
    return [(point.step, round(point.value, 6)) for point in points]


def test_a_trial_that_ends_while_a_pass_is_at_others_is_written_once(
    make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sweep(1)
    plan(folder, "first")
    begin(folder, "first")
    average = Tracker._average

    def ends_meanwhile(self: Tracker, *rest: Any) -> None:
        add(folder, TRIAL, seed=5)
        average(self, *rest)

    monkeypatch.setattr(Tracker, "_average", ends_meanwhile)
    tracker = Tracker(folder, "tiny", Tracking())
    tracker.sync(status="RUNNING")
    assert TRIAL not in runs(own_database(folder)), "a run that shows its course would only be work twice"
    assert tracker.sync().logged == [TRIAL]
    assert the_run(folder).info.status == "FINISHED"


def test_epochs_appear_while_a_trial_runs_and_its_run_becomes_the_result(make_sweep: Make) -> None:
    folder = make_sweep(1)
    plan(folder, "first")
    tracker = Tracker(folder, "tiny", Tracking())
    assert tracker.sync(status="RUNNING").message is None
    assert TRIAL not in runs(own_database(folder)), "it has not begun"
    begin(folder, "first")
    epoch(folder, 1)
    tracker.sync()
    shown = the_run(folder)
    assert (shown.info.status, shown.info.run_name) == ("RUNNING", "random-smart s90 seed5")
    (mean,) = {run.data.tags["mlflow.parentRunId"] for same in runs(own_database(folder)).values() for run in same}
    assert mean == runs(own_database(folder), "aggregate")["random-smart s90"][0].info.run_id
    assert course(folder) == [(1, 0.1)]
    tracker.sync()
    assert course(folder) == [(1, 0.1)], "nothing was new"
    epoch(folder, 2)
    epoch(folder, 3)
    tracker.sync()
    assert course(folder) == [(1, 0.1), (2, 0.2), (3, 0.3)]
    add(folder, TRIAL, seed=5)
    assert tracker.sync(status="FINISHED").logged == [TRIAL]
    done = the_run(folder)
    assert (done.info.run_id, done.info.status) == (shown.info.run_id, "FINISHED")
    assert course(folder) == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_trial_that_was_cut_off_is_killed_and_runs_on_when_it_is_taken_up(make_sweep: Make) -> None:
    folder = make_sweep(0)
    tracker = running(folder)
    epoch(folder, 2)  # written after the last look, before the end
    assert tracker.sync(status="KILLED").message is None
    cut = the_run(folder)
    assert cut.info.status == "KILLED"
    assert cut.info.end_time
    plan(folder, "second")
    again = Tracker(folder, "tiny", Tracking())  # a new process, which knows nothing
    again.sync(status="RUNNING")
    assert the_run(folder).info.status == "KILLED", "it has not begun again"
    begin(folder, "second")
    epoch(folder, 2)
    again.sync()
    taken_up = the_run(folder)
    assert (taken_up.info.run_id, taken_up.info.status) == (cut.info.run_id, "RUNNING")
    assert course(folder) == [(1, 0.1), (2, 0.2), (3, 0.2)], "each epoch trained, once"
    add(folder, TRIAL, seed=5)
    again.sync(status="FINISHED")
    done = the_run(folder)
    assert (done.info.run_id, done.info.status) == (cut.info.run_id, "FINISHED")
    assert done.data.metrics["accuracy/test"] == 0.8
    assert course(folder) == [(1, 0.1), (2, 0.2), (3, 0.2)]


def test_the_same_process_takes_up_what_it_saw_end(make_sweep: Make) -> None:
    folder = make_sweep(0)
    tracker = running(folder)
    tracker.sync(status="KILLED")
    epoch(folder, 2)
    tracker.sync(status="RUNNING")
    assert the_run(folder).info.status == "RUNNING"
    assert course(folder) == [(1, 0.1), (2, 0.2)]


def test_half_a_line_is_read_when_it_is_whole(make_sweep: Make) -> None:
    folder = make_sweep(0)
    plan(folder, "first")
    begin(folder, "first")
    epoch(folder, 1)
    events = folder / "trials" / TRIAL / "events.jsonl"
    line = json.dumps({"time": time.time(), "epoch": 2, "accuracy/val": 0.2}) + "\n"
    with events.open("a") as file:
        file.write(line[:20])
    tracker = Tracker(folder, "tiny", Tracking())
    assert tracker.sync(status="RUNNING").message is None
    assert course(folder) == [(1, 0.1)]
    with events.open("a") as file:
        file.write(line[20:])
    tracker.sync()
    assert course(folder) == [(1, 0.1), (2, 0.2)]
