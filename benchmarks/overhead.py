"""What a sweep costs beyond its trials: the same trials through (a) Jackpot with MLflow on, (b) plain Ray Tune with
reused actors and no tracking, (c) plain Ray Tune with function trainables and its MLflowLoggerCallback.

    python benchmarks/overhead.py [--one N] [--ten N] [--only a,b]        (trials of no length: sweep.py)

A trial sleeps 1 or 10 s. In (b) and (c) it does nothing else. In (a) it is a whole trial nevertheless: it draws a
network of 1,608 prunable weights, scores them (and sleeps there), trains one step on 1,294 images, measures validation
and test, writes ticket, log, events and result, and MLflow gets a run. Latency is off: it is measured once a structure,
in about 3 s, however many trials there are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SLOTS = 2
SYSTEMS = {"a": "Jackpot, MLflow on", "b": "Ray Tune, reused actors", "c": "Ray Tune, functions, MLflow callback"}

PLUGIN = """
import time

from methods import budget, method
from methods.bench import Ticket
from methods.masks import keep_largest


class Options(method.Options):
    seconds: float = 0.0


class Sleeper(method.Method):
    name, ticket, summary, paper, uses_data = "sleeper", "initial", "sleeps, and keeps the largest", "", False
    Options = Options

    def find(self, bench):
        weights = bench.initialise()
        keep = budget.kept(budget.total(bench.layers), bench.sparsity)
        return Ticket(weights, bench.compute(largest, weights, keep=keep, seconds=self.options.seconds))


def largest(bench, weights, keep, seconds):
    time.sleep(seconds)
    return keep_largest({layer.name: weights[layer.parameter].abs() for layer in bench.layers}, keep)
"""


def jackpot(folder: Path, seconds: float, count: int) -> dict[str, float]:
    """The trials through the command `jackpot run`, and when they were run by their own events."""
    plugin = folder / "plugin"
    points = plugin / "jackpot_sleeper-1.dist-info" / "entry_points.txt"
    points.parent.mkdir(parents=True)
    (plugin / "jackpot_sleeper.py").write_text(PLUGIN)
    points.write_text("[jackpot.methods]\nsleeper = jackpot_sleeper:Sleeper\n")
    (points.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: jackpot-sleeper\nVersion: 1\n")
    spec = {
        "name": "overhead",
        "data": "digits",
        "model": {"name": "convnet", "width": 0.25},
        "recipe": {"epochs": 1, "batch": 1294},
        "methods": [{"name": "sleeper", "seconds": seconds}],
        "sparsities": [0.9],
        "seeds": list(range(count)),
        "concurrency": SLOTS,
        "latency": {"enabled": False},
    }
    (folder / "overhead.yaml").write_text(json.dumps(spec))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(plugin)}
    command = [str(Path(sys.executable).parent / "jackpot"), "run", "overhead.yaml", "--out", "sweep"]
    began = time.time()
    with open(folder / "said.txt", "w") as said:
        subprocess.run(command, cwd=folder, env=environment, stdout=said, stderr=said, check=True)
    whole = time.time() - began
    events = [
        json.loads(line)
        for path in folder.glob("sweep/trials/*/events.jsonl")
        for line in path.read_text().splitlines()
        if line
    ]
    starts = [event["time"] for event in events if "begin" in event]
    ends = [event["time"] for event in events if "end" in event]
    if [event["end"] for event in events if "end" in event] != ["done"] * count:
        raise RuntimeError(f"not all of the {count} trials are done; see {folder / 'said.txt'}")
    first_step = min(event["time"] for event in events if event.get("steps"))
    return {
        "startup": min(starts) - began,
        "first_step": first_step - began,
        "wall": max(ends) - min(starts),
        "whole": whole,
    }


PLAIN = """
    import json, sys, time
    began = time.time()
    import ray
    from ray import tune

    system, folder = sys.argv[1], sys.argv[5]
    seconds, count, slots = float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

    class Sleeper(tune.Trainable):
        def setup(self, config):
            pass

        def reset_config(self, new_config):
            return True

        def step(self):
            start = time.time()
            time.sleep(seconds)
            return {"done": True, "start": start, "end": time.time()}

        def save_checkpoint(self, folder):
            return None

        def load_checkpoint(self, checkpoint):
            pass

    def sleeper(config):
        start = time.time()
        time.sleep(seconds)
        tune.report({"start": start, "end": time.time(), "accuracy": 0.5})

    callbacks = []
    if system == "c":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        callbacks = [MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="overhead")]
    ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    found = tune.Tuner(
        tune.with_resources(Sleeper if system == "b" else sleeper, {"cpu": 1}),
        param_space={"seed": tune.grid_search(list(range(count)))},
        tune_config=tune.TuneConfig(reuse_actors=system == "b", max_concurrent_trials=slots),
        run_config=tune.RunConfig(name="overhead", storage_path=folder, verbose=0, callbacks=callbacks),
    ).fit()
    assert not found.errors and len(found) == count
    starts = [each.metrics["start"] for each in found]
    ends = [each.metrics["end"] for each in found]
    print("FOUND", json.dumps({"startup": min(starts) - began, "wall": max(ends) - min(starts), "ends": ends}))
"""


def plain_environment(system: str) -> dict[str, str]:
    """For Ray Tune alone."""
    return {
        **os.environ, "RAY_AUTH_MODE": "disabled", "RAY_AIR_NEW_OUTPUT": "0", "MLFLOW_DISABLE_TELEMETRY": "true",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1" if system == "b" else "0",
    }  # fmt: skip


def plain_command(system: str, folder: Path, seconds: float, count: int) -> list[str]:
    """What runs the trials through Ray Tune alone, and prints what it found."""
    script = folder / "plain.py"
    script.write_text(textwrap.dedent(PLAIN))
    return [sys.executable, str(script), system, str(seconds), str(count), str(SLOTS), str(folder)]


def plain(system: str, folder: Path, seconds: float, count: int) -> dict[str, float]:
    """The trials through Ray Tune alone, in a process of its own."""
    command, environment = plain_command(system, folder, seconds, count), plain_environment(system)
    began = time.time()
    found = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    lines = [line for line in found.stdout.splitlines() if line.startswith("FOUND ")]
    if found.returncode or not lines:
        raise RuntimeError(f"({system}) failed:\n{found.stderr[-3000:]}")
    return json.loads(lines[0].removeprefix("FOUND ")) | {"whole": time.time() - began}


def main() -> None:
    """Run what is asked for and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=int, default=40, help="trials of 1 s")
    parser.add_argument("--ten", type=int, default=20, help="trials of 10 s")
    parser.add_argument("--only", default="a,b,c", help="systems, by letter")
    given = parser.parse_args()
    table = Table(title=f"{SLOTS} trials at once; per trial and over ideal from the first start to the last end")
    for name in (
        "trials",
        "system",
        "start-up s",
        "wall s",
        "ideal s",
        "over ideal",
        "trials/s",
        "ms a trial",
        "x (b)",
    ):
        table.add_column(name, justify="left" if name == "system" else "right")
    first_steps: list[float] = []
    for seconds, count in ((1.0, given.one), (10.0, given.ten)):
        if count:
            found = {system: _run(system, seconds, count) for system in given.only.split(",")}
            first_steps += [each["first_step"] for each in found.values() if "first_step" in each]
            for system, each in found.items():
                table.add_row(*_row(system, seconds, count, each, found.get("b")))
    console = Console(width=130)
    console.print(table)
    console.print(
        "ms a trial: (wall - ideal) / trials. x (b): wall over that of (b). Start-up: command to first start."
    )
    if first_steps:
        console.print(f"Jackpot's first training step: {min(first_steps):.1f} s after the command at the soonest.")


def _run(system: str, seconds: float, count: int) -> dict[str, float]:
    print(f"{count} trials of {seconds:g} s through {SYSTEMS[system]} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        measure = jackpot if system == "a" else lambda *rest: plain(system, *rest)
        return measure(Path(folder), seconds, count)


def _row(system: str, seconds: float, count: int, found: dict[str, float], base: dict[str, float] | None) -> list[Any]:
    ideal = seconds * count / SLOTS
    wall = found["wall"]
    return [
        f"{count} x {seconds:g} s",
        f"({system}) {SYSTEMS[system]}",
        f"{found['startup']:.1f}",
        f"{wall:.2f}",
        f"{ideal:.0f}",
        f"{100 * (wall / ideal - 1):.1f} %",
        f"{count / wall:.1f}",
        f"{1000 * (wall - ideal) / count:.0f}",
        f"{wall / base['wall']:.2f}" if base else "",
    ]


if __name__ == "__main__":
    main()
