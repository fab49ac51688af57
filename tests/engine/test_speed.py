"""What a latency's record says: whether it counts, why, and which runtime is the best."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.speed import bests, metrics, outside, verdict, why


def record(runtime: str = "dense", speedup: float = 1.0, spread: float = 0.01, **changes: Any) -> dict[str, Any]:
    return {
        "batch": 1, "runtime": runtime, "ms": 2.0 / speedup, "dense_ms": 2.0, "peak_mb": 3.0, "speedup": speedup,
        "interval": [speedup - spread, speedup + spread] if speedup != 1 else [1.0, 1.0], "noisy": False,
        "disturbed": [], "control": {"speedup": 1.0, "interval": [0.98, 1.03]}, "macs": [100, 100],
        "software": "torch 2 eager", **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (record(), "as dense"),
        (record(speedup=1.2), "faster"),
        (record(speedup=1.035), "not told apart from dense"),  # 1.025 is within the control's interval
        (record(speedup=0.9), "slower"),
        (record(speedup=0.985), "not told apart from dense"),
        (record(speedup=1.2, disturbed=["one", "two"]), "faster (meanwhile one; two)"),
        (record(speedup=1.2, noisy=True, disturbed=["one"]), "faster, but noisy: one"),
        (record(noisy=True), "as dense, but noisy: the system tells of no reason"),
    ],
)
def test_the_verdict(found: dict, said: str) -> None:
    assert verdict(found) == said


def test_only_the_dense_runtime_has_the_plain_names() -> None:
    compact = record("compact", 2.0, macs=[50, 100])
    failed = {"batch": 64, "runtime": "compiled", "error": "no compiler"}
    assert metrics([record(), compact, failed]) == {
        "latency/ms/b1": 2.0, "latency/dense_ms/b1": 2.0, "latency/speedup/b1": 1.0, "memory/peak_mb/b1": 3.0,
        "latency/compact/ms/b1": 1.0, "latency/compact/speedup/b1": 2.0, "latency/best/speedup/b1": 2.0,
    }  # fmt: skip
    assert "latency/best/speedup/b1" not in metrics([record()]), "there is no choice"


def test_the_best_is_faster_beyond_chance() -> None:
    lucky = record("compact", 1.035)
    assert [best["runtime"] for best in bests([record(), lucky])] == ["dense"]
    sure, wide = record("compiled", 1.2), record("onnxruntime", 1.5, spread=0.6)
    assert [best["runtime"] for best in bests([record(), lucky, sure, wide])] == ["compiled"]
    assert [best["runtime"] for best in bests([record(), sure, record("onnxruntime", 1.3)])] == ["onnxruntime"]
    narrow = record(speedup=1.6)  # filters were removed: the network as it is wins
    assert [best["runtime"] for best in bests([narrow, sure])] == ["dense"]


def test_the_best_of_each_batch() -> None:
    large = record("compact", 2.0, batch=64)
    found = bests([record(), record("compact", 0.5), record(batch=64), large])
    assert [(best["batch"], best["runtime"]) for best in found] == [(1, "dense"), (64, "compact")]


def test_what_failed_is_never_the_best() -> None:
    failed = {"batch": 1, "runtime": "compact", "error": "it cannot be traced"}
    assert [best["runtime"] for best in bests([record(), failed])] == ["dense"]
    assert bests([{**failed, "runtime": "dense"}, failed]) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (record(), "the dense structure: what a mask removes is multiplied all the same"),
        (record(speedup=1.6, macs=[500, 1000]), "50 % of the multiply-accumulates left"),
        (record("compact", 1.6, macs=[180, 1000], channels=[546, 1856]),
         "1,310 of 1,856 channels removed, 18 % of the multiply-accumulates left; a program that calls no modules, "
         "which alone gains at small batches"),
        (record("compact", macs=[1000, 1000], channels=None), "no channel could be removed"),
        (record("onnxruntime", 0.5, macs=[4, 1000], channels=[1, 10], software="onnxruntime 1"),
         "slower: onnxruntime 1; 9 of 10 channels removed, 0.4 % of the multiply-accumulates left"),
        (record("compiled", 1.3, channels=None, software="torch 2 inductor"),
         "torch 2 inductor; no channel could be removed"),
        (record("compact", 1.6, macs=[460, 1000], channels=None),
         "no channel could be removed, 46 % of the multiply-accumulates left"),  # of a network without some filters
        (record("compact", 500.0, macs=[0, 1000], channels=[0, 10]),
         "nothing is left to compute: the outputs are the same for every image"),
        ({"runtime": "compiled", "error": "no compiler"}, "no compiler"),
    ],
)  # fmt: skip
def test_why(found: dict, said: str) -> None:
    assert why(found) == said


def test_slower_and_faster_are_beyond_the_control() -> None:
    found = record(speedup=1.2)
    assert outside(found) == "faster"
    assert outside(found | {"control": {"interval": [0.9, 1.2]}}) is None
