"""A sweep of many short trials on a Ray of many nodes, all on this machine: does it stay as fast, and the driver as
small, from the first trial to the last?

    python benchmarks/many_nodes.py [--nodes 20] [--trials 2000] [--at-once 8] [--json FILE]

Each node is a raylet of its own (ray.cluster_utils.Cluster), with one CPU to offer. A trial is a whole one: it draws a
network of 1,608 prunable weights, prunes it at random, trains one step on 1,294 images, tests it, writes its files, and
MLflow gets a run. The driver's memory is this process's own.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

SAMPLE_SECONDS = 1.0


def spec_of(trials: int, at_once: int) -> dict[str, Any]:
    """The sweep."""
    return {
        "name": "many",
        "data": "digits",
        "model": {"name": "convnet", "width": 0.25},
        "recipe": {"epochs": 1, "batch": 1294},
        "methods": ["random"],
        "sparsities": [0.9],
        "seeds": list(range(trials)),
        "concurrency": at_once,
        "latency": {"enabled": False},
    }


def watch(samples: list[tuple[float, float]], over: threading.Event) -> None:
    """Note this process's memory in MB, time and again."""
    process = psutil.Process()
    while not over.wait(SAMPLE_SECONDS):
        samples.append((time.time(), process.memory_info().rss / 1e6))


def measure(nodes: int, trials: int, at_once: int, folder: Path) -> dict[str, Any]:
    """Run the sweep; trials a second and memory in its first and last quarter."""
    import ray
    from ray.cluster_utils import Cluster

    from orchestrator.api import run

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    ray.init(address=cluster.address, log_to_driver=False)
    samples: list[tuple[float, float]] = []
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(samples, over))
    watcher.start()
    try:
        there = sum(node["Alive"] for node in ray.nodes()) - 1
        outcome = run(spec_of(trials, at_once), out=folder / "sweep", console=Console(file=io.StringIO()))
    finally:
        over.set()
        watcher.join()
        ray.shutdown()
        cluster.shutdown()
    ends = sorted(_ends(folder / "sweep"))
    quarter = len(ends) // 4
    parts = {"first": (ends[0], ends[quarter]), "last": (ends[-quarter - 1], ends[-1])}
    return {
        "nodes": there,
        "trials": trials,
        "done": sum(status == "done" for status in outcome.statuses.values()),
        "wall_s": ends[-1] - ends[0],
        "tracking": outcome.tracking or "MLflow is up to date",
        **{f"{name}_per_s": quarter / (end - start) for name, (start, end) in parts.items()},
        **{
            f"{name}_mb": statistics.median(mb for at, mb in samples if start <= at <= end)
            for name, (start, end) in parts.items()
        },
    }


def _ends(sweep: Path) -> list[float]:
    """When each trial ended."""
    return [json.loads(path.read_text())["ended"] for path in sweep.glob("trials/*/result.json")]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"
    # MLflow may still be at its last run where it was not waited for
    with tempfile.TemporaryDirectory(prefix="jackpot-nodes-", ignore_cleanup_errors=True) as made:
        found = measure(given.nodes, given.trials, given.at_once, Path(made))
    print(f"{found['nodes']} raylets, {found['done']} of {found['trials']} trials done in {found['wall_s']:.0f} s")
    print("| quarter of the trials | trials a second | driver's memory, MB |\n|---|---|---|")
    for name in ("first", "last"):
        print(f"| {name} | {found[f'{name}_per_s']:.2f} | {found[f'{name}_mb']:.0f} |")
    print(found["tracking"])
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
