"""How long the report's page takes to write, and how large it is: made-up sweeps of 100, 300 and 1,000 trials with 50
epochs of history each.

    python benchmarks/report_page.py [--trials N,N,...] [--epochs N] [--keep FOLDER]

The page carries plotly.js, 2 MB as it is packed. `--keep` leaves the sweeps' folders, to be opened in a browser.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.report.page import write_report

METHODS = (
    "lottery", "random-smart", "random-erk", "snip", "grasp", "synflow", "hybrid", "gmp", "rigl", "set",
)  # fmt: skip
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
LAYERS = 21
"""As many as ResNet-18 has."""


def main() -> None:
    """Write the pages and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="100,300,1000")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    table = Table("trials", "epochs each", "seconds", "MB")
    with tempfile.TemporaryDirectory() as temporary:
        for count in map(int, options.trials.split(",")):
            folder = made_up((options.keep or Path(temporary)) / f"made-up-{count}", count, options.epochs)
            began = time.perf_counter()
            page = write_report([folder])
            seconds = time.perf_counter() - began
            table.add_row(f"{count:,}", str(options.epochs), f"{seconds:.1f}", f"{page.stat().st_size / 1e6:.2f}")
    Console().print(table)


def made_up(path: Path, count: int, epochs: int) -> SweepFolder:
    """A sweep of so many trials: methods x sparsities, and seeds until it is enough; the dense network's first."""
    draw = random.Random(0)
    arms = [("dense", 0.0), *((method, sparsity) for method in METHODS for sparsity in SPARSITIES)]
    planned = []
    for i in range(count):
        (method, sparsity), seed = arms[i % len(arms)], i // len(arms)
        result = _result(method, sparsity, seed, epochs, draw)
        write_sealed(path / "trials" / result["trial"] / "result.json", result)
        (path / "trials" / result["trial"] / "log.txt").write_text("made up\n", encoding="utf-8")
        (path / "trials" / result["trial"] / "ticket.safetensors").write_bytes(b"made up")
        planned.append({"trial": result["trial"], "key": "k"})
    write_sealed(path / "plan.json", {"planned": planned})
    (path / "spec.yaml").write_text(f"name: {path.name}\n", encoding="utf-8")
    return SweepFolder(path)


def _result(method: str, sparsity: float, seed: int, epochs: int, draw: random.Random) -> dict[str, Any]:
    best = 0.95 - 0.1 * sparsity**8 - 0.004 * (METHODS.index(method) if sparsity else 0) + draw.gauss(0, 0.003)
    diverged = draw.random() < 0.01
    dear = {"lottery": 8, "gmp": 2, "hybrid": 3}.get(method, 1)
    metrics = {
        "accuracy/test": best, "accuracy/val": best + draw.gauss(0, 0.002), "sparsity/global": sparsity,
        "compression_ratio": 1 / (1 - 0.98 * sparsity), "macs/speedup": 1 / (1 - 0.9 * sparsity),
        "latency/ms/b1": 2.0, "latency/ms/b64": 31.0, "latency/speedup/b1": 1.0, "latency/speedup/b64": 1.0,
        "cost/epochs": epochs * dear, "cost/train_seconds": draw.uniform(300, 400) * dear,
    }  # fmt: skip
    part = f"_s{100 * sparsity:g}" if sparsity else ""
    return {
        "trial": f"resnet18_{method}{part}_seed{seed}", "key": "k", "status": "diverged" if diverged else "done",
        "model": "resnet18", "method": method, "label": method, "arm": method, "check": None, "search": None,
        "options": {}, "sparsity": sparsity, "seed": seed, "data": "cifar10", "metrics": {} if diverged else metrics,
        "layers": [_layer(i, sparsity, draw) for i in range(LAYERS)], "latency": [], "collapsed": [],
        "history": [_epoch(epoch, epochs, best, draw) for epoch in range(1, epochs + 1)],
        "error": {"type": "Diverged", "message": "the loss is not finite", "traceback": ""} if diverged else None,
        "params": {f"recipe.option{i}": i for i in range(25)}, "attempts": 1,
        "blocked_by": None, "started": 1.7e9, "ended": 1.7e9 + 350,
        "host": {"hostname": f"node{seed % 4}", "device": "cpu", "threads": 1},
        "versions": {"python": "3.11", "torch": "2.15"},
    }  # fmt: skip


def _layer(i: int, sparsity: float, draw: random.Random) -> dict[str, Any]:
    kept = round(1000 * min(1.0, (1 - sparsity) * draw.uniform(0.5, 1.5)))
    return {"name": f"layer{i}.conv", "weights": 1000, "kept": kept, "keep_ratio": kept / 1000}


def _epoch(epoch: int, epochs: int, best: float, draw: random.Random) -> dict[str, float]:
    done = 1 - math.exp(-5 * epoch / epochs)
    return {
        "epoch": epoch, "lr": 0.1 * (1 - epoch / epochs), "loss/train": 2.3 - 2.2 * done + draw.gauss(0, 0.02),
        "loss/val": 2.3 - 2.0 * done + draw.gauss(0, 0.03), "accuracy/val": best * done + draw.gauss(0, 0.005),
        "time": 1.7e9 + 7 * epoch,
    }  # fmt: skip


if __name__ == "__main__":
    main()
