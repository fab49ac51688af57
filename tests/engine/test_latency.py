"""Latency: the statistics of the rounds, the measuring itself, and the memory of a forward pass."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
from torch import nn

from orchestrator.engine import latency
from orchestrator.engine.latency import Timed, measure, median_interval
from orchestrator.engine.peak_memory import peak_bytes

IMAGES = torch.zeros(2, 1, 8, 8)


class Sleeping(nn.Module):
    """A network whose forward pass takes as long as it is told."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.seconds, self.passes = seconds, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        assert not self.training
        time.sleep(self.seconds[self.passes % len(self.seconds)])
        self.passes += 1
        return x


def timed(dense: nn.Module, control: nn.Module, **others: nn.Module) -> dict[str, dict]:
    there = {name: Timed(net, IMAGES) for name, net in others.items()}
    return measure(Timed(dense, IMAGES), Timed(control, IMAGES), there, 0.01)


@pytest.mark.parametrize(
    ("count", "rank"),
    [(1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (25, 8), (100, 40)],  # tables of the sign test
)
def test_the_interval_of_a_median(count: int, rank: int) -> None:
    values = list(map(float, range(1, count + 1)))
    assert median_interval(values[::-1]) == (rank, count + 1 - rank)


def test_a_round_gives_a_ratio() -> None:
    dense = [2.0, 4.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    control = [2.0, 4.0, 2.0, 2.0, 2.0, 1.99, 2.01]
    this = [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]  # half of the dense one's, also in the slow round
    found = latency._summary(dense, control, this)
    assert (found["ms"], found["dense_ms"], found["speedup"], found["interval"]) == (1000, 2000, 2, [2, 2])
    assert found["iqr_ms"] == [1000, 1000]
    assert found["control"] == {"speedup": 1, "interval": [2 / 2.01, 2 / 1.99]}
    assert not found["noisy"]
    assert found["rounds"] == 7


@pytest.mark.parametrize(
    ("control", "this"),
    [
        ([1.02] * 7, [2.0] * 7),  # one of two equal networks is faster: so is the machine's doing
        ([0.98] * 7, [2.0] * 7),
        ([0.98, 1.01, 1, 1, 1, 1, 1], [2.0] * 7),
        ([1.0] * 7, [2.0, 2.05, 2, 2, 2, 2, 2]),
    ],
)
def test_noise_is_flagged(control: list[float], this: list[float]) -> None:
    assert latency._summary([1.0] * 7, control, this)["noisy"]


def test_two_equal_networks_may_differ_by_a_percent() -> None:
    found = latency._summary([1.0] * 7, [0.995] * 7, [0.5] * 7)
    assert not found["noisy"]
    assert found["control"]["interval"] == [1 / 0.995, 1 / 0.995], "a gain counts only beyond it"


def test_the_dense_structure_is_as_fast_as_itself() -> None:
    found = timed(Sleeping(2e-3), Sleeping(2e-3))["dense"]
    assert found["ms"] == found["dense_ms"]
    assert found["ms"] >= 2
    assert (found["speedup"], found["interval"]) == (1.0, [1.0, 1.0])
    assert found["rounds"] >= latency.LEAST_ROUNDS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only made-up forward passes move."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


class Taking(nn.Module):
    """A network whose passes take these seconds of the made-up clock in turn."""

    def __init__(self, now: list[float], *seconds: float) -> None:
        super().__init__()
        self.now, self.seconds = now, itertools.cycle(seconds)
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        self.now[0] += next(self.seconds)
        return x


def test_slower_networks_are_found_slower_side_by_side(clock: list[float]) -> None:
    dense, control, twice, thrice = (Taking(clock, milliseconds / 1e3) for milliseconds in (40, 40, 80, 120))
    found = timed(dense, control, twice=twice, thrice=thrice)
    assert set(found) == {"dense", "twice", "thrice"}
    assert {name: own["speedup"] for name, own in found.items()} == pytest.approx(
        {"dense": 1, "twice": 1 / 2, "thrice": 1 / 3}
    )
    assert found["twice"]["interval"] == pytest.approx([1 / 2, 1 / 2])
    assert (found["twice"]["ms"], found["twice"]["dense_ms"], found["dense"]["ms"]) == pytest.approx((80, 40, 40))


def rounds(seconds: float, **nets: nn.Module) -> dict[str, list[float]]:
    return latency._rounds({name: Timed(net, IMAGES) for name, net in nets.items()}, seconds)


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 7), (3.0, 7), (4.1, 7), (4.3, 8), (8.9, 15)])
def test_rounds_go_on_for_the_seconds_asked_for(clock: list[float], seconds: float, expected: int) -> None:
    found = rounds(seconds, dense=Taking(clock, 0.1), control=Taking(clock, 0.1), this=Taking(clock, 0.1))
    assert [len(own) for own in found.values()] == [expected] * 3  # of 0.6 s each


def test_rounds_go_on_until_the_ratio_is_known_to_two_percent(clock: list[float]) -> None:
    # two blocks a round, after two of the warm-up: every other of the first six rounds is 5 % slower
    settling = Taking(clock, *[0.1] * 2, *[0.1, 0.1, 0.105, 0.105] * 3, *[0.1] * 1000)
    found = rounds(3.0, dense=Taking(clock, 0.1), control=Taking(clock, 0.1), this=settling)
    ratios = latency._ratios(found["dense"], found["this"])
    assert len(ratios) > latency.LEAST_ROUNDS
    assert latency._width(ratios) < latency.WIDE <= latency._width(ratios[:-1])


def test_a_noisy_measurement_is_ended_and_flagged(clock: list[float]) -> None:
    wild = Taking(clock, *[0.1] * 2, *[0.1, 0.1, 0.2, 0.2] * 1000)
    found = rounds(2.0, dense=Taking(clock, 0.1), control=Taking(clock, 0.1), this=wild)
    count = len(found["dense"])
    assert latency._summary(found["dense"], found["control"], found["this"])["noisy"]
    assert 0.7 * (count - 1) < latency.PATIENCE * 2.0 <= 0.7 * (count + 1), "rounds of 0.6 and 0.8 s"


def test_short_passes_fill_a_block_after_a_warm_up_and_long_ones_need_none(clock: list[float]) -> None:
    short, long = Taking(clock, 1e-4), Taking(clock, 0.1)
    assert latency._block(Timed(short, IMAGES), 20) == pytest.approx(1e-4)
    assert short.passes == 21
    assert latency._block(Timed(long, IMAGES), 1) == pytest.approx(0.1)
    assert long.passes == 1


def test_a_network_that_costs_next_to_nothing_makes_no_other_run_more_often(clock: list[float]) -> None:
    dense = Taking(clock, 0.2)
    rounds(0.0, dense=dense, control=Taking(clock, 0.2), this=Taking(clock, 1e-6))
    assert dense.passes == 2 + 2 * latency.LEAST_ROUNDS, "two to begin with, then two a round"


def test_all_positions_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that always came first would look slower or faster than it is."""
    order: list[str] = []

    def block(timed: Timed, passes: int) -> float:
        order.append(timed.net.name)
        return 1.0

    monkeypatch.setattr(latency, "_block", block)
    nets = {name: nn.Identity() for name in ("dense", "control", "this")}
    for name, net in nets.items():
        net.name = name
    rounds(0.0, **nets)
    found = [order[start : start + 6] for start in range(6, len(order), 6)]  # after two of each to warm up
    assert len(found) == latency.LEAST_ROUNDS
    assert all(each == each[::-1] and set(each) == set(nets) for each in found), "drift cancels"
    assert {each[0] for each in found} == set(nets)


def test_the_memory_of_a_pass_is_weights_images_and_what_it_allocates() -> None:
    net = nn.Sequential(nn.Linear(1000, 2000, bias=False), nn.ReLU(inplace=True), nn.Linear(2000, 10, bias=False))
    images = torch.zeros(50, 1000)
    floats = 1000 * 2000 + 2000 * 10 + 50 * 1000 + 50 * 2000 + 50 * 10
    assert peak_bytes(net, images) == pytest.approx(4 * floats, rel=0.02)
    twice = nn.Sequential(net[0], nn.ReLU(), net[2])  # another 50 x 2000 while the first is still there
    assert peak_bytes(twice, images) == pytest.approx(4 * (floats + 50 * 2000 - 50 * 10), rel=0.02)
