"""Silence on a machine: work goes on together, a measurement is alone, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stage_files import fork, killed_at_the_end, started

from orchestrator.engine.quiet import Quiet
from orchestrator.engine.watch import Stopped, Watch


def reached(happened: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(0.005)
    return False


def work(folder: Path, steps: list[float], end: threading.Event) -> None:
    quiet = Quiet(folder=folder)
    with quiet.working():
        while not end.is_set():
            if quiet.wanted():
                quiet.pause()
            steps.append(time.monotonic())
            time.sleep(0.002)


def test_work_pauses_for_a_measurement_and_goes_on_after_it(tmp_path: Path) -> None:
    steps: list[list[float]] = [[], []]
    end = threading.Event()
    workers = [threading.Thread(target=work, args=(tmp_path, own, end)) for own in steps]
    for worker in workers:
        worker.start()
    try:
        assert reached(lambda: all(len(own) > 5 for own in steps)), "two at work at once"
        with Quiet(folder=tmp_path).alone():
            before = [len(own) for own in steps]
            time.sleep(0.1)
            assert [len(own) for own in steps] == before
        assert reached(lambda: all(len(own) > count + 5 for own, count in zip(steps, before, strict=True)))
    finally:
        end.set()
        for worker in workers:
            worker.join()


def test_a_measurement_waits_for_the_work_that_does_not_pause(tmp_path: Path) -> None:
    measuring = threading.Event()

    def measure() -> None:
        with Quiet(folder=tmp_path).alone():
            measuring.set()

    thread = threading.Thread(target=measure)
    quiet = Quiet(folder=tmp_path)
    with quiet.working():
        thread.start()
        assert reached(quiet.wanted), "the one who measures waits at the door"
        assert not measuring.is_set()
    assert measuring.wait(20)
    thread.join()


def test_two_measurements_take_turns(tmp_path: Path) -> None:
    inside: list[str] = []
    most: list[int] = []

    def measure(name: str) -> None:
        for _ in range(5):
            with Quiet(folder=tmp_path).alone():
                inside.append(name)
                most.append(len(inside))
                time.sleep(0.005)
                inside.remove(name)

    threads = [threading.Thread(target=measure, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 10


def test_the_time_paused_is_counted(tmp_path: Path) -> None:
    quiet, other = Quiet(folder=tmp_path), Quiet(folder=tmp_path)
    waited = threading.Event()

    def enter() -> None:
        waited.set()
        with quiet.working():
            pass

    thread = threading.Thread(target=enter)
    with other.alone():
        thread.start()
        assert waited.wait(20)
        time.sleep(0.1)
    thread.join()
    assert 0.05 < quiet.paused < 20


def _measure_for_ever(folder: Path, inside: object) -> None:
    with Quiet(folder=folder).alone():
        inside.set()  # type: ignore[attr-defined]  # an Event
        time.sleep(600)


def test_a_killed_measurement_keeps_nobody_waiting(tmp_path: Path) -> None:
    inside = fork.Event()
    child = started(_measure_for_ever, tmp_path, inside)
    with killed_at_the_end(child):
        assert inside.wait(20)
        quiet = Quiet(folder=tmp_path)
        assert quiet.wanted()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with quiet.working():
            assert not quiet.wanted()


def test_who_waits_can_be_stopped() -> None:
    watch = Watch(stopping=lambda: True)
    with Quiet().alone(), pytest.raises(Stopped), watch.quiet.working():
        pass
    with watch.quiet.working():
        assert not watch.quiet.wanted(), "nothing is left locked"
