"""Results as a sweep leaves them, made up for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder

EVIL = "</script><script>alert(1)</script>"
CONDITIONS = {
    "device_type": "cpu", "device": "a processor", "threads": 1, "dtype": "float32", "memory_format": "channels_last",
    "runtime": "dense", "software": "torch 2 eager",
}  # fmt: skip


def result(label: str, sparsity: float, seed: int, accuracy: float | None, **changes: Any) -> dict[str, Any]:
    """A trial's result; without an accuracy it diverged."""
    done = accuracy is not None
    metrics = {"accuracy/test": accuracy, "cost/epochs": 10, "latency/ms/b1": 2.0} if done else {}
    error = None if done else {"type": "Diverged", "message": "the loss is not finite", "traceback": ""}
    return {
        "trial": f"net_{label}_s{sparsity}_seed{seed}", "status": "done" if done else "diverged", "model": "net",
        "method": label, "label": label, "sparsity": sparsity, "seed": seed, "data": "digits", "metrics": metrics,
        "layers": [{"name": "conv", "weights": 10, "kept": 1, "keep_ratio": 1 - sparsity}],
        "latency": [record()], "collapsed": [], "error": error, "blocked_by": None,
        "host": {"hostname": "here", "device": "cpu", "threads": 1}, "versions": {"torch": "2"}, "key": "k",
        "options": {}, "ended": 1_700_000_000.0 + seed, **changes,
    }  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    """A latency, of the dense structure."""
    return {
        "batch": 1, "ms": 2.0, "iqr_ms": [1.9, 2.1], "dense_ms": 2.0, "dense_iqr_ms": [1.9, 2.1], "speedup": 1.0,
        "interval": [1.0, 1.0], "control": {"speedup": 1.0, "interval": [0.99, 1.01]}, "noisy": False, "rounds": 9,
        "disturbed": [], "macs": [100, 100], "why": "the dense structure",
        "peak_mb": 1.0, "structure": "s" * 64, "host": "here", **CONDITIONS, **changes,
    }  # fmt: skip


def sweep(accuracies: dict[tuple[str, float], list[float | None]]) -> list[dict[str, Any]]:
    """(method, sparsity) -> accuracy of seed 0, 1, ..."""
    return [
        result(label, sparsity, seed, value)
        for (label, sparsity), values in accuracies.items()
        for seed, value in enumerate(values)
    ]


def history(epochs: int, number: int = 0) -> list[dict[str, float]]:
    """What a trial's network did after each epoch."""
    return [
        {"epoch": i, "lr": 0.1, "loss/train": 1 / i + 0.001 * number, "accuracy/val": 1 - 0.5 / i, "time": 1.7e9 + i}
        for i in range(1, epochs + 1)
    ]


def folder_of(path: Path, results: list[dict], missing: list[str] = []) -> SweepFolder:  # noqa: B006
    """A sweep's folder with these results, and trials that have not run."""
    for each in results:
        write_sealed(path / "trials" / each["trial"].replace("/", "-") / "result.json", each)
    ids = [each["trial"].replace("/", "-") for each in results]
    write_sealed(path / "plan.json", {"planned": [{"trial": trial, "key": "k"} for trial in ids + missing]})
    (path / "spec.yaml").write_text("name: made-up  # <spec>\n")
    return SweepFolder(path)
