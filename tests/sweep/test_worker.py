"""What a worker tells the driver of trials that it cannot run, without Ray's processes."""

import errno
import os
import signal
from unittest.mock import Mock, call

import pytest

from orchestrator.engine.plan import make_plan
from orchestrator.engine.remote import PATIENCE, Remote
from orchestrator.engine.status import epochs_trained
from orchestrator.sweep import worker
from orchestrator.tracking.record import course_points


@pytest.fixture
def step(make_spec, sweep_folder, monkeypatch):
    """One trial, run by a worker in this process: what it tells the driver."""
    from orchestrator.sweep.worker import Worker

    def run(prepare=lambda worker, trial: None, **sections):
        spec = make_spec(**sections)
        plan = make_plan(spec)
        (planned,) = plan.planned
        worker = Worker.__new__(Worker)  # Tune's own start is not needed
        monkeypatch.setattr(Remote, "patience", Remote.patience)
        worker.setup({}, spec, str(sweep_folder.path), "run", os.getcwd())
        assert Remote("s3://bucket/sweep").patience == PATIENCE  # nobody sits before a worker and waits
        config = {"trial": planned.id, "key": planned.chain.key, "what": planned.trial.to_json(), "slots": 2}
        config |= plan.instructions(planned)
        worker.reset_config(config)
        prepare(worker, sweep_folder.trial(planned.id))
        return worker.step(), sweep_folder.result(planned.id)

    return run


def test_a_trial_to_its_end(step, sweep_folder):
    told, result = step()
    assert told == {"done": True, "status": "done", "failed_stage": None}
    assert result["status"] == "done"
    log = (sweep_folder.trial(result["trial"]) / "log.txt").read_text()
    assert "epoch 2 of 2: lr " in log
    assert f"tested: accuracy/test {result['metrics']['accuracy/test']:.6g}, " in log


@pytest.mark.parametrize("asked", [True, False])
def test_every_epoch_says_how_busy_the_machine_is_where_that_is_asked_for(step, sweep_folder, asked):
    _, result = step(tracking={"system_metrics": asked})
    epochs = [event for event in sweep_folder.events(result["trial"]) if "epoch" in event]
    assert [event["epoch"] for event in epochs] == [1, 2]
    points = [point for point in course_points(epochs) if point.key.startswith("system/")]
    assert [point.step for point in points if point.key == "system/cpu_utilization_percentage"] == [1, 2] * asked
    for point in points:
        assert (0 <= point.value <= 100) if point.key.endswith("percentage") else (10 < point.value < 1e8), point


def takes_nothing(worker, folder):
    (folder / "log.txt").mkdir(parents=True)


def test_a_log_that_cannot_be_written(step, monkeypatch):
    monkeypatch.setattr("orchestrator.engine.files.STORAGE_SECONDS", 30.0)
    pauses = []
    monkeypatch.setattr("orchestrator.sweep.worker.time.sleep", pauses.append)
    told, _ = step(takes_nothing)
    assert told["status"] == "unwritable"
    assert "Is a directory" in told["error"]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]  # the next would end after the patience


def test_a_folder_that_takes_nothing_for_a_while_loses_nothing(step, sweep_folder, monkeypatch):
    def mend(seconds):
        (log,) = sweep_folder.path.glob("trials/*/log.txt")
        log.rmdir()

    monkeypatch.setattr("orchestrator.sweep.worker.time.sleep", mend)
    told, result = step(takes_nothing)
    assert (told["status"], result["status"]) == ("done", "done")


def test_a_folder_that_is_full_again_later_is_waited_for_again(step, monkeypatch):
    from orchestrator.sweep.worker import Worker

    clock, tries, real = [0.0], [], Worker._run

    def run(worker, config):
        tries.append(clock[0])
        if len(tries) in (1, 2):
            clock[0] += 1000.0 * (len(tries) - 1)  # the second has run for long
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(worker, config)

    monkeypatch.setattr(Worker, "_run", run)
    monkeypatch.setattr("orchestrator.sweep.worker.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("orchestrator.sweep.worker.time.sleep", lambda seconds: clock.append(clock.pop() + seconds))
    assert step()[0]["status"] == "done"
    assert tries == [0.0, 1.0, 1002.0]


def test_a_sweep_that_is_to_stop_waits_for_no_folder(step, sweep_folder, monkeypatch):
    def stop(worker, folder):
        takes_nothing(worker, folder)
        sweep_folder.request_stop("enough")

    monkeypatch.setattr("orchestrator.sweep.worker.time.sleep", lambda seconds: pytest.fail("waited"))
    assert step(stop)[0]["status"] == "unwritable"


class Exited(BaseException):
    """Stands for the end of the worker's process."""


def test_a_host_that_says_it_will_be_gone_costs_no_epoch(step, sweep_folder, monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda status: (_ for _ in ()).throw(Exited))

    def notice(worker, folder):
        tell = worker.sweep.tell

        def told(trial, event):
            tell(trial, event)
            if event.get("epoch") == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        worker.sweep.tell = told

    before, pushed = signal.getsignal(signal.SIGTERM), []

    def push(folder, trial):  # for machines that share no folder
        pushed.append((trial, len(folder.events(trial))))

    monkeypatch.setattr(type(sweep_folder), "push", push)
    with pytest.raises(Exited):
        step(notice)
    assert signal.getsignal(signal.SIGTERM) == before
    (trial,) = [path.name for path in sweep_folder.path.glob("trials/*")]
    last = sweep_folder.events(trial)[-1]
    assert (last["end"], last["why"]) == ("stopped", "SIGTERM")
    assert pushed[-1] == (trial, len(sweep_folder.events(trial)))
    assert sweep_folder.result(trial) is None
    told, result = step()
    assert (told["status"], result["status"]) == ("done", "done")
    assert epochs_trained([sweep_folder.events(trial)]) == 2


def test_a_worker_that_does_not_know_the_trial(step):
    def other(worker, folder):
        del worker.config["what"]

    told, result = step(other)
    assert told["status"] == "broken"
    assert told["error"]["type"] == "KeyError"
    assert "Traceback" in told["error"]["traceback"]
    assert result is None


def test_events_with_a_damaged_byte(step):
    def damage(worker, folder):
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_bytes(b'{"time": 1, "st\xff\n')

    assert step(damage)[0]["status"] == "done"


def test_what_was_trained_is_sent_before_its_stage_can_be_used():
    sent = Mock()
    tell = worker._Teller(sent, "some", system=False)
    events = [
        {"stage": "a", "kind": "train"}, {"step": 3, "until": 6}, {"step": 3, "until": 6, "checkpoint": True},
        {"step": 6, "until": 6},
    ]  # fmt: skip
    for event in events:
        tell(event)
    told = [call.tell("some", event) for event in events]
    assert sent.mock_calls == [*told[:3], call.push("some"), told[3], call.push("some")]
