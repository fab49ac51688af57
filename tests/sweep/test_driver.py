"""What a driver does when workers die or say strange things, without Ray: a real plan, a real folder."""

import errno
import io
import os
import threading
import time

import pytest
from rich.console import Console

from orchestrator.engine.plan import make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import blank_result, write_result
from orchestrator.sweep import driver as module
from orchestrator.sweep import leaving
from orchestrator.sweep.deaths import MOST_HOSTS
from orchestrator.sweep.driver import Driver
from orchestrator.sweep.outcome import finished

DENSE, LOTTERY = "convnet-width0.25_dense_seed0", "convnet-width0.25_lottery_s90_seed0"


@pytest.fixture
def drive(make_spec, sweep_folder):
    """Makes a driver of dense and lottery at two sparsities, all of which need the dense training."""

    def make(**sections):
        spec = make_spec(methods=["dense", "lottery"], sparsities=[0.5, 0.9], **sections)
        return Driver(spec, sweep_folder, make_plan(spec), Console(file=io.StringIO()))

    return make


def begin(driver, **stage):
    """Start the next trial as a worker does, at a stage; the trial and the stage."""
    planned = driver.schedule.next()
    driver.folder.tell(planned.id, {"begin": planned.chain.key, "pid": 1, "run": driver.run_id, "slots": 2})
    key = planned.chain.trainings[0].key
    if stage:
        driver.folder.tell(planned.id, {"stage": key, "kind": "train", **stage})
    return planned.id, key


def die(driver, trial, lost=False):
    """Let a trial's worker die until the trial is given up; how often that was."""
    deaths = 1
    while driver.died(trial, lost, "what Ray knows"):
        deaths += 1
    return deaths


def statuses(driver):
    return finished(driver.folder, driver.plan)


def test_a_worker_that_dies_making_a_stage_blocks_who_needs_it(drive):
    driver = drive()
    trial, stage = begin(driver, step=3, steps=3, per_epoch=6, until=12)
    began = driver.folder.events(trial)[0]["time"]
    die(driver, trial)
    assert statuses(driver) == {name: "failed" if name == trial else "blocked" for name in driver.plan.by_id}
    assert driver.folder.store.failed_in(stage, driver.run_id) == trial
    assert driver.folder.store.failed_in(stage, "another run") is None
    result = driver.folder.result(trial)
    assert (result["error"]["type"], result["error"]["traceback"]) == ("WorkerDied", "what Ray knows")
    assert "died 3 times" in result["error"]["message"]
    assert (result["attempts"], result["started"]) == (1, began)
    blocked = next(driver.folder.result(name) for name in driver.plan.by_id if name != trial)
    assert (blocked["blocked_by"], blocked["error"], blocked["attempts"]) == (trial, None, 0)
    assert [driver.folder.events(name)[-1]["end"] for name in (trial, blocked["trial"])] == ["failed", "blocked"]


def blocked_by_death(driver, trial):
    die(driver, trial)
    return [name for name, status in statuses(driver).items() if status == "blocked"]


def test_a_worker_that_only_waited_blocks_nobody(drive):
    driver = drive()
    trial, _ = begin(driver, waiting=True)
    assert blocked_by_death(driver, trial) == []


def test_a_worker_that_had_begun_no_stage_blocks_nobody(drive):
    driver = drive()
    planned = driver.plan.planned[0]
    driver.folder.tell(planned.id, {"begin": planned.chain.key, "pid": 1, "run": "an earlier one", "slots": 2})
    driver.folder.tell(planned.id, {"stage": planned.chain.trainings[0].key, "kind": "train"})
    trial, _ = begin(driver)
    assert trial == planned.id
    assert blocked_by_death(driver, trial) == []


def test_a_stage_that_exists_or_that_another_worker_makes_blocks_nobody(drive):
    driver = drive()
    trial, stage = begin(driver, step=3, steps=3, per_epoch=6, until=12)
    with driver.folder.store.claim(stage):
        assert blocked_by_death(driver, trial) == []
    trial, stage = begin(driver, step=3, steps=3, per_epoch=6, until=12)
    driver.folder.store.write(stage, {}, {})
    assert blocked_by_death(driver, trial) == []


def test_a_result_stands_although_its_worker_died_after_it(drive):
    driver = drive()
    trial, _ = begin(driver)
    planned = driver.plan.by_id[trial]
    result = blank_result(Setting(driver.spec, planned.trial.model), planned.trial, planned.chain.key, 1)
    write_result(driver.folder, result | {"status": "done", "ended": time.time()})
    assert not driver.died(trial, False, "")
    assert statuses(driver) == {trial: "done"}
    assert driver.failed == 0


def test_a_lost_host_is_not_the_trials_fault(drive):
    driver = drive(failures={"max_failures": 0})
    trial, _ = begin(driver)
    assert all(driver.died(trial, True, "") for _ in range(MOST_HOSTS))
    assert statuses(driver) == {}
    assert not driver.died(trial, False, "")
    assert "died 1 times" in driver.folder.result(trial)["error"]["message"]


def test_a_worker_that_its_host_told_to_end_is_not_the_trials_fault(drive):
    driver = drive(failures={"max_failures": 0})
    trial, _ = begin(driver)
    driver.folder.tell(trial, {"end": "stopped", "why": "SIGTERM"})
    assert driver.died(trial, False, "its worker process has died")
    driver.folder.tell(trial, {"begin": "key", "run": driver.run_id, "slots": 2})
    assert not driver.died(trial, False, "its worker process has died")


def test_a_trial_that_loses_every_host_is_given_up(drive):
    driver = drive(failures={"max_failures": 0})
    trial, _ = begin(driver)
    assert die(driver, trial, lost=True) == MOST_HOSTS + 1
    assert statuses(driver) == {trial: "failed"}
    assert f"{MOST_HOSTS + 1} hosts were lost" in driver.folder.result(trial)["error"]["message"]


def test_a_worker_without_progress_is_ended_once(drive, monkeypatch):
    driver = drive(failures={"stall_minutes": 1})
    trial, _ = begin(driver, step=3, steps=3, per_epoch=6, until=12)
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    driver.progress._look()  # what is there by now was told in time
    driver.progress.started(trial)

    def stalled_after(seconds):
        clock[0] += seconds
        driver.progress._look()
        return driver.stalled([trial])

    assert stalled_after(59) == []
    assert driver.stalled([]) == []
    assert stalled_after(2) == [trial]
    assert stalled_after(1) == []  # Ray is about to end it


@pytest.mark.parametrize("minutes", [None, 1])
def test_progress_is_asked_for_unless_the_spec_says_null(drive, monkeypatch, minutes):
    driver = drive(failures={"stall_minutes": minutes})
    trial, _ = begin(driver)
    driver.progress._look()
    driver.progress.started(trial)
    clock = time.monotonic() + 1e6
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    driver.progress._look()
    assert driver.stalled([trial]) == ([] if minutes is None else [trial])


def test_what_a_worker_cannot_begin_is_the_trials_error(drive):
    driver = drive()
    trial, _ = begin(driver)
    error = {"type": "ImportError", "message": "no such plugin here", "traceback": "Traceback ..."}
    driver.ended(trial, {"status": "broken", "error": error})
    assert driver.folder.result(trial)["error"] == error
    assert statuses(driver) == {trial: "failed"}


def test_blocked_trials_do_not_count_as_failures(drive):
    driver = drive(failures={"max_failed_trials": 1})
    trial, stage = begin(driver)
    driver.ended(trial, {"status": "failed", "failed_stage": stage})
    assert list(statuses(driver).values()) == ["blocked"] * 2
    assert driver.stopped is None


@pytest.mark.parametrize("happens", ["ended", "died", "dropped"])
def test_a_folder_that_cannot_be_read_stops_the_sweep_and_nothing_else(drive, monkeypatch, happens):
    driver = drive()
    trial, _ = begin(driver)

    def away(*_):
        raise OSError(errno.EIO, "Input/output error")

    for read in ("events", "result", "stop_requested"):
        monkeypatch.setattr(driver.folder, read, away)
    happening = {
        "ended": lambda: driver.ended(trial, {"status": "broken", "error": {}}),
        "died": lambda: driver.died(trial, False, ""),
        "dropped": lambda: driver.dropped(trial),
    }
    assert not happening[happens]()
    assert "Input/output error" in driver.stopped


def test_a_death_on_a_full_disk_is_told_to_those_that_wait_once_there_is_room(drive, monkeypatch):
    driver = drive()
    trial, stage = begin(driver, step=3)
    full, mark = iter([True, True, False]), driver.folder.store.mark_failed

    def once_there_is_room(*arguments):
        if next(full):
            raise OSError(errno.ENOSPC, "No space left on device")
        mark(*arguments)

    monkeypatch.setattr(driver.folder.store, "mark_failed", once_there_is_room)
    monkeypatch.setattr("orchestrator.engine.files.time.sleep", lambda _: None)
    die(driver, trial)
    assert driver.folder.store.failed_in(stage, driver.run_id) == trial


@pytest.fixture
def unwritable(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("orchestrator.engine.folder.write_text", full)


def test_a_result_waits_for_a_folder_that_is_full(drive, monkeypatch):
    full, write = iter([True, True, False]), module.write_result

    def once_there_is_room(*arguments):
        if next(full):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(module, "write_result", once_there_is_room)
    monkeypatch.setattr("orchestrator.engine.files.time.sleep", lambda _: None)
    driver = drive()
    trial, _ = begin(driver)
    driver.ended(trial, {"status": "broken", "error": {"type": "E", "message": "m", "traceback": ""}})
    assert driver.stopped is None
    assert driver.folder.result(trial)["status"] == "failed"


def test_a_worker_whose_store_was_away_holds_nothing_any_more(drive, monkeypatch):
    driver, freed = drive(), []
    monkeypatch.setattr(type(driver.folder.store), "free", lambda store, *whose: freed.append(whose))
    trial, _ = begin(driver)
    driver.ended(trial, {"status": "stopped"})
    assert freed == []
    driver.ended(trial, {"status": "unwritable", "error": "the store does not answer"})
    assert freed == [(driver.run_id, trial)]
    assert driver.stopped


def test_ctrl_c_is_heard_where_the_folder_takes_no_more(drive, unwritable, monkeypatch):
    monkeypatch.setattr(leaving, "STOP_SECONDS", 0.2)
    left = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: left.set() if status == 130 else None)
    driver = drive()
    driver.leaving.may = True
    driver.interrupt()
    driver.interrupt()
    assert driver.schedule.next() is None
    assert left.wait(5)


def test_a_process_that_only_called_it_is_not_ended(drive, monkeypatch):
    monkeypatch.setattr(leaving, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(os, "_exit", lambda status: pytest.fail("left"))
    driver = drive()
    driver.interrupt()
    time.sleep(0.3)
    assert driver.interrupted
    assert driver.leaving.patience(True) == 0.3  # the promised seconds are over
