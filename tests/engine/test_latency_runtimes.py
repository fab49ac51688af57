"""The runtimes of a latency: what is measured once, what is told where nothing was, and what fails alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from trial_runs import only, run_all

from orchestrator.engine import latency, runtimes, structures
from orchestrator.engine.compact import flattened
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.latency import Timed
from orchestrator.engine.results import results
from orchestrator.engine.runtimes import Unavailable
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]
CONTROL = {"speedup": 1.0, "interval": [0.99, 1.01]}
SPEEDS = {"dense": 1.0, "runtime compact": 1.5, "runtime onnxruntime": 0.5, "runtime compiled": 2.0}


def timing(*names: str) -> dict[str, Any]:
    return {"batches": [2], "seconds": 0.01, "runtimes": ["dense", *names]}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was timed beside the dense network, one word a measurement; the times are made up."""
    found: list[str] = []

    def measure(dense: Timed, control: Timed, others: dict[str, Timed], seconds: float) -> dict[str, Any]:
        found.append(" ".join(others) or "dense")
        return {
            name: {"ms": 2 / SPEEDS[name], "dense_ms": 2.0, "speedup": SPEEDS[name], "interval": [SPEEDS[name]] * 2,
                   "control": CONTROL, "noisy": False, "disturbed": []}
            for name in ("dense", *others)
        }  # fmt: skip

    monkeypatch.setattr(latency, "measure", measure)
    return found


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every network, four channels of ten and three quarters of the multiply-accumulates are taken for removed."""

    def compacted(net: nn.Module, shape: tuple[int, int, int]) -> SimpleNamespace:
        return SimpleNamespace(
            net=flattened(net, shape), before=10, after=6, macs_before=400, macs_after=100, structure="s", changed=True
        )

    monkeypatch.setattr(structures, "compacted", compacted)


@pytest.mark.usefixtures("emptied")
def test_equal_structures_are_measured_once_in_each_runtime(
    make_spec: MakeSpec, folder: SweepFolder, measured: list[str]
) -> None:
    spec = make_spec(methods=["random", "snip"], latency=timing("onnxruntime", "compact"))
    found = run_all(folder, spec)
    assert measured == ["dense", "runtime onnxruntime", "runtime compact"], "of two tickets of one structure"
    for result in found.values():
        assert [record["runtime"] for record in result["latency"]] == ["dense", "onnxruntime", "compact"]
        assert [record["why"] for record in result["latency"]] == [
            "the dense structure: what a mask removes is multiplied all the same",
            f"slower: {runtimes.software('onnxruntime')}; 4 of 10 channels removed, 25 % of the multiply-accumulates "
            "left",
            "4 of 10 channels removed, 25 % of the multiply-accumulates left; a program that calls no modules, which "
            "alone gains at small batches",
        ]
        dense, onnx, compact = result["latency"]
        assert dense["structure"] != onnx["structure"] == compact["structure"]
        assert "prepare_seconds" not in dense
        assert onnx["prepare_seconds"] > 0
        assert 0 <= onnx["difference"] <= runtimes.TOLERANCE
        assert "peak_mb" in compact
        assert "peak_mb" not in onnx, "torch does not hear of its allocations"
        metrics = {name: value for name, value in result["metrics"].items() if name.startswith("latency/")}
        assert metrics == {
            "latency/ms/b2": 2.0, "latency/dense_ms/b2": 2.0, "latency/speedup/b2": 1.0,
            "latency/onnxruntime/ms/b2": 4.0, "latency/onnxruntime/speedup/b2": 0.5,
            "latency/compact/ms/b2": pytest.approx(2 / 1.5), "latency/compact/speedup/b2": 1.5,
            "latency/best/speedup/b2": 1.5,
        }  # fmt: skip
    assert list(results(folder)["latency/best/runtime/b2"]) == ["compact", "compact"]


def test_where_nothing_can_be_removed_the_compact_network_is_not_measured(
    make_spec: MakeSpec, folder: SweepFolder, measured: list[str]
) -> None:
    result = only(run_all(folder, make_spec(methods=["dense"], sparsities=[], latency=timing("compact"))))
    assert measured == ["dense"]
    dense, compact = result["latency"]
    assert compact["why"] == "no channel could be removed"
    same = ("ms", "speedup", "interval", "control", "macs", "peak_mb", "batch")
    assert [compact[name] for name in same] == [dense[name] for name in same]
    assert (compact["runtime"], compact["speedup"]) == ("compact", 1.0)


def test_a_network_that_cannot_be_traced_costs_the_trial_nothing(
    make_spec: MakeSpec, folder: SweepFolder, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compacted(net: nn.Module, shape: tuple[int, int, int]) -> None:
        raise ValueError("the network cannot be traced; leave `compact` out")

    monkeypatch.setattr(structures, "compacted", compacted)
    result = only(run_all(folder, make_spec(latency=timing("compact", "onnxruntime"))))
    assert (result["status"], measured) == ("done", ["dense"])
    assert [record.get("error") for record in result["latency"]] == [
        None, *["the network cannot be traced; leave `compact` out"] * 2,
    ]  # fmt: skip
    assert [name for name in result["metrics"] if name.startswith("latency/")] == [
        "latency/ms/b2", "latency/dense_ms/b2", "latency/speedup/b2", "latency/best/speedup/b2",
    ]  # fmt: skip


@pytest.mark.usefixtures("emptied")
def test_a_runtime_that_fails_fails_alone(
    make_spec: MakeSpec, folder: SweepFolder, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runtimes.prepared

    def prepared(runtime: str, net: nn.Module, images: torch.Tensor) -> tuple[Timed, float]:
        if runtime == "compiled":
            raise Unavailable("no C++ compiler; install g++")
        return real(runtime, net, images)

    monkeypatch.setattr(runtimes, "prepared", prepared)
    result = only(run_all(folder, make_spec(latency=timing("compiled", "compact"))))
    assert (result["status"], measured) == ("done", ["dense", "runtime compact"])
    _, compiled, compact = result["latency"]
    assert compiled["error"] == compiled["why"] == "no C++ compiler; install g++"
    assert "ms" not in compiled
    assert compact["speedup"] == 1.5


@pytest.mark.usefixtures("emptied")
def test_what_is_not_installed_is_said(
    make_spec: MakeSpec, folder: SweepFolder, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runtimes.software

    def software(runtime: str) -> str:
        if runtime == "onnxruntime":
            raise Unavailable("onnxruntime is not installed; `pip install onnxruntime`")
        return real(runtime)

    monkeypatch.setattr(runtimes, "software", software)
    result = only(run_all(folder, make_spec(latency=timing("onnxruntime"))))
    assert (result["status"], measured) == ("done", ["dense"])
    assert result["latency"][1]["error"] == "onnxruntime is not installed; `pip install onnxruntime`"


@pytest.mark.slow
def test_an_emptied_channel_is_really_removed_and_all_runtimes_measured(
    make_spec: MakeSpec, folder: SweepFolder
) -> None:
    spec = make_spec(
        methods=[{"name": "random", "ratio": "uniform"}], sparsities=[0.9],
        latency=timing("compact", "compiled", "onnxruntime"),
    )  # fmt: skip
    result = only(run_all(folder, spec))
    dense, compact, compiled, onnx = result["latency"]
    assert dense["speedup"] == 1.0
    kept, of = compact["channels"]
    assert 0 < kept < of, "of 1 weight in 10 some channels keep none"
    assert compact["channels"] == compiled["channels"] == onnx["channels"]
    assert compact["macs"][0] < compact["macs"][1]
    for record in (compact, compiled, onnx):
        assert "error" not in record
        assert record["difference"] <= runtimes.TOLERANCE
        assert record["ms"] > 0
        assert record["rounds"] >= latency.LEAST_ROUNDS
