"""Latency: the statistics of the rounds, the measuring itself, and the memory of a forward pass."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.engine import latency
from orchestrator.engine.latency import measure, median_interval, peak_bytes

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


@pytest.mark.parametrize(
    ("count", "rank"),
    [(1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (25, 8), (100, 40)],  # tables of the sign test
)
def test_the_interval_of_a_median(count: int, rank: int) -> None:
    values = list(map(float, range(1, count + 1)))
    assert median_interval(values[::-1]) == (rank, count + 1 - rank)


def test_a_round_gives_a_ratio() -> None:
    times = {
        "dense": [2.0, 4.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        "control": [2.0, 4.0, 2.0, 2.0, 2.0, 1.98, 2.02],
        "this": [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0],  # half of the dense one's, also in the slow round
    }
    found = latency._summary(times)
    assert (found["ms"], found["dense_ms"], found["speedup"], found["interval"]) == (1000, 2000, 2, [2, 2])
    assert found["iqr_ms"] == [1000, 1000]
    assert found["control"] == {"speedup": 1, "interval": [2 / 2.02, 2 / 1.98]}
    assert not found["noisy"]
    assert found["rounds"] == 7


@pytest.mark.parametrize(
    ("control", "this"),
    [
        ([1.01] * 7, [2.0] * 7),  # one of two equal networks is faster: so is the machine's doing
        ([0.9, 1.1, 1, 1, 1, 1, 1], [2.0] * 7),
        ([1.0] * 7, [2.0, 2.2, 2, 2, 2, 2, 2]),
    ],
)
def test_noise_is_flagged(control: list[float], this: list[float]) -> None:
    assert latency._summary({"dense": [1.0] * 7, "control": control, "this": this})["noisy"]


def test_the_dense_structure_is_as_fast_as_itself() -> None:
    found = measure(Sleeping(2e-3), Sleeping(2e-3), None, IMAGES, 0.01)
    assert found["ms"] == found["dense_ms"]
    assert found["ms"] >= 2
    assert (found["speedup"], found["interval"]) == (1.0, [1.0, 1.0])
    assert found["rounds"] >= latency.LEAST_ROUNDS


def test_a_slower_network_is_found_slower() -> None:
    found = measure(Sleeping(4e-3), Sleeping(4e-3), Sleeping(8e-3), IMAGES, 0.01)
    assert found["speedup"] < 0.8  # 0.5 but for what the system adds to each sleep
    assert found["ms"] > found["dense_ms"] >= 4
    low, high = found["interval"]
    assert low <= found["speedup"] <= high < 1


def test_a_noisy_measurement_goes_on_and_stays_flagged() -> None:
    wild = Sleeping(*([1e-3] * 7 + [4e-3] * 11))
    found = measure(Sleeping(2e-3), Sleeping(2e-3), wild, IMAGES, 0.01)
    assert found["noisy"]
    assert found["rounds"] >= latency.ATTEMPTS * latency.LEAST_ROUNDS


def test_all_positions_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that always came first would look slower or faster than it is."""
    order: list[str] = []

    class Timer:
        def __init__(self, stmt: str, globals: dict[str, Any], num_threads: int) -> None:
            self.name = globals["net"].name

        def timeit(self, number: int) -> Any:
            order.append(self.name)
            return type("Measurement", (), {"mean": 1.0})

    monkeypatch.setattr("torch.utils.benchmark.Timer", Timer)
    nets = {name: nn.Identity() for name in ("dense", "control", "this")}
    for name, net in nets.items():
        net.name = name
    latency._rounds(nets, IMAGES, 0.0)
    rounds = [order[start : start + 6] for start in range(3, len(order), 6)]
    assert len(rounds) == latency.LEAST_ROUNDS
    assert all(each == each[::-1] and set(each) == set(nets) for each in rounds), "drift cancels"
    assert {each[0] for each in rounds} == set(nets)


def test_the_memory_of_a_pass_is_weights_images_and_what_it_allocates() -> None:
    net = nn.Sequential(nn.Linear(1000, 2000, bias=False), nn.ReLU(inplace=True), nn.Linear(2000, 10, bias=False))
    images = torch.zeros(50, 1000)
    floats = 1000 * 2000 + 2000 * 10 + 50 * 1000 + 50 * 2000 + 50 * 10
    assert peak_bytes(net, images) == pytest.approx(4 * floats, rel=0.02)
    twice = nn.Sequential(net[0], nn.ReLU(), net[2])  # another 50 x 2000 while the first is still there
    assert peak_bytes(twice, images) == pytest.approx(4 * (floats + 50 * 2000 - 50 * 10), rel=0.02)
