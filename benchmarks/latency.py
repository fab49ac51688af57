"""Are measured latencies to be believed? Each structure measured twice alone and once beside a process that loads a
core; the speed-ups over the dense network should agree, or the noisy one be flagged.

    python benchmarks/latency.py
"""

from __future__ import annotations

import multiprocessing
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from orchestrator.engine.nets import build
from orchestrator.engine.setting import Setting
from orchestrator.engine.structures import measure_structure
from orchestrator.spec.models import Model, Spec

AGREE = 0.05
STRUCTURES = (("convnet", 1.0), ("convnet", 0.5), ("resnet20", 1.0), ("resnet20", 0.5))
"""Network, and the width of the structure that is measured against it at width 1 (1: masks alone)."""


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    table = Table(title="speed-up over dense (95 % interval) and the dense control's, one thread")
    for column in ("structure", "batch", "beside", "ms", "speed-up", "control", "verdict"):
        table.add_column(column)
    for name, width in STRUCTURES:
        runs = {"nothing": measured(name, width), "nothing again": measured(name, width)}
        burner = multiprocessing.get_context("spawn").Process(target=burn, daemon=True)
        burner.start()
        runs["a loaded core"] = measured(name, width)
        burner.kill()
        burner.join()
        for beside, records in runs.items():
            for record, first in zip(records, runs["nothing"], strict=True):
                table.add_row(f"{name} x {width:g}", str(record["batch"]), beside, *cells(record, first))
    Console(width=150).print(table)


def measured(name: str, width: float) -> list[dict[str, Any]]:
    """The latencies of a network's structure at a width, against the network at width 1."""
    data = "digits" if name == "convnet" else {"name": "fake", "shape": [3, 32, 32], "train": 100, "test": 10}
    spec = Spec.model_validate(
        {"name": "latency", "data": data, "model": name, "recipe": {"epochs": 1}, "methods": ["dense"]}
    )
    setting = Setting(spec, spec.model[0])
    narrow = Model.model_validate({"name": name, "width": width})
    weights = build(narrow, len(setting.data.classes), setting.data.shape, seed=0).state_dict()
    return measure_structure(setting, weights, torch.device("cpu"))


def cells(record: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """A row's numbers, and whether they agree with the first measurement's."""
    control = record["control"]
    off = abs(record["speedup"] / first["speedup"] - 1)
    held = control["interval"][0] <= 1 <= control["interval"][1]
    agrees = "agrees" if off <= AGREE else f"{off:.1%} off"
    return [
        f"{record['ms']:.4g}",
        f"{record['speedup']:.3f} ({shown(record['interval'])})",
        f"{control['speedup']:.3f} ({shown(control['interval'])})",
        f"{agrees}; control {'holds' if held else 'misses'} 1{'; flagged noisy' if record['noisy'] else ''}",
    ]


def shown(interval: list[float]) -> str:
    """An interval as the table prints it."""
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def burn() -> None:
    """Load a core until killed."""
    while True:
        sum(range(10_000))


if __name__ == "__main__":
    main()
