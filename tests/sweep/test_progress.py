"""What a running sweep shows, from the events of its trials."""

import errno
import io
import os
import time

import pytest
from rich.console import Console

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.spec.models import Spec
from orchestrator.sweep.progress import Progress, Tail
from orchestrator.sweep.schedule import Schedule

TRIAL = "convnet_dense_seed0"


@pytest.fixture
def folder(tmp_path):
    sweep = SweepFolder(tmp_path / "sweep")
    sweep.prepare()
    return sweep


@pytest.fixture
def shown():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def progress(folder, shown):
    """Of two dense trainings of 4 epochs, one of them at work."""
    spec = {
        "name": "small",
        "data": "digits",
        "model": "convnet",
        "recipe": {"epochs": 4},
        "methods": ["dense"],
        "seeds": [0, 1],
    }
    plan = make_plan(Spec.model_validate(spec))
    schedule = Schedule(plan, folder.store.has)
    progress = Progress(folder, plan, schedule, "this", shown)
    schedule.next()
    return progress


def epochs(progress, seconds, *numbers, trial=TRIAL):
    """The events of epochs that take that long each, after the trial began at second 100."""
    key = next(iter(progress._plan.segments(progress._plan.by_id[trial])))
    events = [{"time": 100.0, "stage": key, "kind": "train"}]
    for n in numbers:
        told = {"stage": key, "kind": "train", "step": 21 * n, "until": 84, "steps": 21, "per_epoch": 21, "epoch": n}
        events.append({"time": 100 + seconds * n, **told})
    return events


def test_time_left_is_predicted_from_measured_epochs(progress):
    assert progress.seconds_left() is None
    for event in epochs(progress, 10, 1):
        progress._take(TRIAL, event)
    # 3 epochs of this training are left and 4 of the other, 10 s each, one after the other on the one slot
    assert progress.seconds_left() == pytest.approx(70)
    for event in epochs(progress, 10, 1, 2, 3, 4)[2:]:
        progress._take(TRIAL, event)
    assert progress.seconds_left() == pytest.approx(40)


def test_plain_lines_where_there_is_no_terminal(progress, folder, shown):
    with progress:
        folder.tell(TRIAL, {"begin": "key", "pid": 1, "run": "this"})
        for event in epochs(progress, 10, 1, 2):
            folder.tell(TRIAL, event)
        folder.tell(TRIAL, {"end": "done"})
    lines = shown.file.getvalue().splitlines()
    assert lines[0].startswith(f"[1/2] {TRIAL}: done (")
    assert lines[1].startswith("[1/2] trials, epochs 2/8, 0:0")
    assert lines[1].endswith("about 1:00 left")


def test_a_live_picture_on_a_terminal(progress, folder):
    for event in [{"begin": "key", "time": 90.0}, *epochs(progress, 10, 1)]:
        progress._take(TRIAL, {**event, "accuracy/val": 0.5})
    console = Console(file=io.StringIO(), width=200)
    console.print(progress._picture())
    lines = console.file.getvalue().splitlines()
    assert lines[0].split("  ")[:2] == [TRIAL, "training, epoch 1/4, validation 0.500"]
    assert lines[1].startswith("[0/2] trials, epochs 1/8")
    progress._take(TRIAL, {"stage": "key", "kind": "train", "waiting": "a stage", "time": 120.0})
    console.print(progress._picture())
    assert "waits for a stage" in console.file.getvalue()


def test_it_can_be_closed_before_it_was_begun(progress):
    """Ctrl-C may come while Ray is starting."""
    progress.close()


def test_events_of_earlier_runs_are_not_told_again(folder, shown):
    folder.tell(TRIAL, {"end": "stopped"})
    tail = Tail(folder.trial(TRIAL) / "events.jsonl", from_end=True)
    assert tail.new() == []
    folder.tell(TRIAL, {"begin": "key"})
    assert [event["begin"] for event in tail.new()] == ["key"]
    assert tail.new() == []


def test_an_unfinished_line_is_waited_for(folder):
    path = folder.trial(TRIAL) / "events.jsonl"
    path.parent.mkdir(parents=True)
    tail = Tail(path, from_end=True)
    path.write_text('{"time": 1, "begin": "ke')
    assert tail.new() == []
    with open(path, "a") as file:
        file.write('y"}\n{"a worker was killed\n')
    assert tail.new() == [{"time": 1, "begin": "key"}]


@pytest.fixture
def hear(progress, folder, monkeypatch):
    """Lets so many seconds pass, in which one of the two trials tells of an event, or none."""
    clock = [1000.0]
    monkeypatch.setattr("orchestrator.sweep.progress.time.monotonic", lambda: clock[0])
    progress._schedule.next()
    for trial in BOTH:
        progress.started(trial)

    def pass_by(seconds, trial=None, **event):
        clock[0] += seconds
        if trial:
            folder.tell(trial, event)
        progress._look()
        return progress.stalled(BOTH, 60)

    return pass_by


BOTH = [TRIAL, "convnet_dense_seed1"]
WAITS = {"stage": "key", "kind": "train", "waiting": "a stage another trial is making"}


def test_whoever_tells_of_nothing_has_stalled(hear):
    assert hear(50, TRIAL, begin="key") == []
    assert hear(50) == [BOTH[1]]
    assert hear(50) == BOTH
    assert hear(1, TRIAL, stage="key", kind="train", step=3, steps=3, per_epoch=6, until=12) == [BOTH[1]]


def test_the_clock_of_a_host_decides_nothing(hear, folder, monkeypatch):
    monkeypatch.setattr("orchestrator.engine.folder.time.time", lambda: 5.0)  # in 1970
    assert hear(50, TRIAL, begin="key") == []
    assert hear(20) == [BOTH[1]]


def test_waiting_for_a_trial_at_work_is_no_stall(hear, folder):
    hear(1, TRIAL, **WAITS)
    assert hear(59, BOTH[1], stage="key", kind="train") == []
    assert hear(59) == []
    folder.store.write("key", {}, {})  # it has waited for this one, and should have gone on
    assert hear(1) == [TRIAL]


def test_of_one_that_waits_and_one_that_stalls_the_latter_is_ended(hear):
    hear(1, TRIAL, **WAITS)
    assert hear(61) == [BOTH[1]]


def test_waiting_for_nobody_is_a_stall(hear):
    for trial in BOTH:
        hear(1, trial, **WAITS)
    assert hear(57) == []
    assert hear(5) == BOTH


def test_a_worker_just_started_is_given_its_time(hear, progress):
    hear(1, TRIAL, **WAITS)
    assert hear(59, BOTH[1], begin="key") == []
    progress.started(TRIAL)
    assert hear(59) == []
    assert hear(2) == BOTH


def test_a_trial_that_has_ended_and_runs_again_is_heard(hear, progress):
    hear(1, TRIAL, end="failed")  # and its worker dies before Tune hears of that
    progress.started(TRIAL)
    for _ in range(3):
        assert TRIAL not in hear(50, TRIAL, checkpoint="key")


class FullDisk(io.StringIO):
    """What a console prints to, on a disk that is full."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


class BrokenPipe(io.StringIO):
    """What a console prints to, where whoever read it has gone."""

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("file", [FullDisk, BrokenPipe])
def test_what_cannot_be_shown_is_no_reason_to_look_away(progress, folder, shown, monkeypatch, file):
    shown.file = file()
    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr("sys.stdout", nowhere)  # rich gives it up too, where a pipe is broken
        folder.tell(TRIAL, {"begin": "key", "pid": 1, "run": "this"})
        folder.tell(TRIAL, {"end": "done"})
        progress.say("a line")
        progress._look()
    assert progress._ended == {TRIAL: "done"}


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), RuntimeError("a bug"), SystemExit(1)])
def test_a_folder_that_cannot_be_read_is_looked_at_again(progress, folder, monkeypatch, error):
    monkeypatch.setattr("orchestrator.sweep.progress.LOOK_SECONDS", 0.01)
    real, failures = Tail.new, iter([True, True])

    def new(tail):
        if next(failures, False):
            raise error
        return real(tail)

    monkeypatch.setattr(Tail, "new", new)
    with progress:
        folder.tell(TRIAL, {"end": "done"})
        for _ in range(200):
            if TRIAL in progress._ended:
                break
            time.sleep(0.02)
    assert progress._ended == {TRIAL: "done"}


def test_while_the_store_is_away_who_waited_waits_on(progress, folder, monkeypatch):
    progress._take(TRIAL, {"time": 1.0, "stage": "a", "kind": "train", "waiting": "what another makes"})
    monkeypatch.setattr(type(folder.store), "knows", lambda *_: (_ for _ in ()).throw(OSError("away")))
    assert progress._waits(TRIAL)
    assert not progress._waits("another")
