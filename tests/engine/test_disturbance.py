"""What disturbed a measurement, from made-up counters of the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from orchestrator.engine.cores import Ticks
from orchestrator.engine.disturbance import Snapshot, active_slowdowns, drift, gpu_slowdowns, reasons, snapshot

IDLE = Ticks(0, 0, 1000)
QUIET = {0: Ticks(1000, 0, 1000), 1: Ticks(100, 0, 1000)}
"""Of ten seconds: core 0 measures, core 1 has a little to do."""


def before(**changes: object) -> Snapshot:
    values = {"seconds": 5.0, "waited": {7: 1.0}, "cores": dict.fromkeys((0, 1), Ticks(0, 0, 0)), "throttled": {}}
    return Snapshot(**(values | changes))  # type: ignore[arg-type]


def after(**changes: object) -> Snapshot:
    return before(**({"seconds": 15.0, "cores": QUIET} | changes))


def test_nothing_disturbs() -> None:
    assert reasons(before(), after(waited={7: 1.1, 9: 100.0}), [0]) == [], "a new thread's waiting was before"


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ({}, {"waited": {7: 4.8}}, "other processes had its core for 38 % of the time"),
        ({}, {"cores": {0: Ticks(900, 50, 1000), 1: IDLE}}, "the host took core 0 away for 5 % of the time"),
        ({}, {"cores": {0: IDLE, 1: Ticks(700, 0, 1000)}}, "1 other core worked 70 % of the time"),
        ({"throttled": {0: 3, 1: 3}}, {"throttled": {0: 4, 1: 3}}, "heat slowed 1 core down"),
    ],
)
def test_what_disturbs_is_said(then: dict, now: dict, said: str) -> None:
    assert reasons(before(**then), after(**now), [0]) == [said]


def test_two_cores_beside() -> None:
    then = before(cores=dict.fromkeys(range(3), Ticks(0, 0, 0)))
    now = after(cores={0: IDLE, 1: Ticks(600, 0, 1000), 2: Ticks(800, 0, 1000)})
    assert reasons(then, now, [0]) == ["2 other cores worked 70 % of the time"]
    assert reasons(then, now, None) == [], "nobody knows which cores it ran on"


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    found = snapshot(tmp_path, tmp_path)
    assert (found.waited, found.cores, found.throttled) == ({}, {}, {})
    assert reasons(found, snapshot(tmp_path, tmp_path), [0]) == []


def test_the_kernels_counters(tmp_path: Path) -> None:
    thread = tmp_path / "self" / "task" / str(os.getpid())
    thread.mkdir(parents=True)
    (thread / "schedstat").write_text("5000000000 1500000000 12\n")
    (tmp_path / "stat").write_text("cpu0 1 0 0 8 0 0 0 1\n")
    heat = tmp_path / "sys" / "cpu0" / "thermal_throttle"
    heat.mkdir(parents=True)
    (heat / "core_throttle_count").write_text("4\n")
    found = snapshot(tmp_path, tmp_path / "sys")
    assert found.waited == {os.getpid(): 1.5}
    assert found.cores == {0: Ticks(1, 1, 10)}
    assert found.throttled == {0: 4}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([1.0] * 9, []),
        ([1.0, 1.0, 1.0, 1.02, 1.02, 1.02, 1.04, 1.04, 1.04], []),
        ([1.0, 1.0, 1.0, 1.1, 1.1, 1.1, 1.2, 1.2, 9.0],
         ["the dense network became 20 % slower, as a processor that gets hot does, from the first third of the rounds "
          "to the last"]),
        ([2.0, 2.0, 2.0, 1.5, 1.5, 1.5, 1.0, 1.0, 1.0],
         ["the dense network became 50 % quicker, from the first third of the rounds to the last"]),
        ([1.0, 1.0, 9.0, 9.0], []),  # too few to say
    ],
)  # fmt: skip
def test_drift(seconds: list[float], said: list[str]) -> None:
    assert drift(seconds) == said


def test_a_gpu_that_is_slowed_down() -> None:
    assert active_slowdowns("Not Active, Active, Not Active, Active\n") == [
        "the GPU ran slower: hw thermal slowdown",
        "the GPU ran slower: sw power cap",
    ]
    assert active_slowdowns("[N/A], [N/A], [N/A], [N/A]\n") == []
    assert gpu_slowdowns(torch.device("cpu")) == []
