"""A sweep's own speed: trials that do next to nothing, beside plain Ray Tune, and a real sweep, beside its forecast.

    python -m benchmarks.sweep [--trials 10000] [--nodes 20] [--spec quickstart] [--only noop,real] [--json FILE]

1. Many trials through `jackpot run` with MLflow on: trials a second, and the driver's memory, in each tenth of them. A
   trial is a whole one all the same: it draws a network of 1,608 prunable weights, prunes it, trains one step on 36
   images of 4x4 pixels, tests it, writes ticket, log, events and result, and MLflow gets a run. Beside it as many
   trials that do nothing through Ray Tune alone, with reused actors and no tracking.
2. A real sweep: the share of the slots' time in which trials were at work, and the wall time of the command beside what
   `jackpot run --dry-run` said just before.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from kills import JACKPOT
from machine import about
from options import add_json, keep, natural
from overhead import SLOTS, plain_command, plain_environment
from rich.console import Console
from rich.table import Table

SAMPLE_SECONDS = 1.0
GROUPS = 10
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled"}


def noop_spec(trials: int, slots: int) -> dict[str, Any]:
    """Trials that do next to nothing."""
    return {
        "name": "noop",
        "data": {"name": "fake", "shape": [1, 4, 4], "classes": 2, "train": 40, "test": 10},
        "model": {"name": "convnet", "width": 0.25},
        "recipe": {"epochs": 1, "batch": 36},
        "methods": ["random"],
        "sparsities": [0.9],
        "seeds": list(range(trials)),
        "concurrency": slots,
        "latency": {"enabled": False},
    }


class Watched:
    """A command that runs, and the memory of its process, sampled."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> None:
        self.began = time.time()
        with open(folder / "said.txt", "a") as said:
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        self._folder, self.samples = folder, list[tuple[float, float]]()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        process = psutil.Process(self._process.pid)
        while not self._over.wait(SAMPLE_SECONDS):
            with contextlib.suppress(psutil.Error):  # it has ended
                self.samples.append((time.time(), process.memory_info().rss / 1e6))

    def wait(self) -> float:
        """Seconds that it took. Raises RuntimeError where it ended badly."""
        code = self._process.wait()
        self._over.set()
        self._watcher.join()
        if code:
            said = (self._folder / "said.txt").read_text(errors="replace")
            raise RuntimeError(f"{self._process.args} ended with {code}, and last said: {said[-3000:]}")
        return time.time() - self.began


def by_group(ends: Sequence[float], samples: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    """Of each tenth of the trials, in the order in which they ended: how many a second, and the memory in MB."""
    ends = sorted(ends)
    size = max(1, (len(ends) - 1) // GROUPS)
    groups = []
    for first in range(0, size * min(GROUPS, len(ends) - 1), size):
        start, end = ends[first], ends[first + size]
        then = [mb for at, mb in samples if start <= at <= end] or [
            min(samples, key=lambda each: abs(each[0] - end))[1]
        ]
        groups.append({"trials": size, "per_second": size / (end - start), "mb": statistics.median(then)})
    return groups


def jackpot(trials: int, nodes: int | None, folder: Path) -> dict[str, Any]:
    """The trials through the command `jackpot run`, on a Ray that it starts, or on one of so many raylets."""
    with cluster(nodes) as address:
        slots = max(SLOTS, nodes) if nodes else SLOTS
        (folder / "noop.yaml").write_text(json.dumps(noop_spec(trials, slots)))
        where = ["--address", address] if address else []
        watched = Watched([JACKPOT, "run", "noop.yaml", "--out", "sweep", *where], folder, ENVIRONMENT)
        seconds = watched.wait()
    results = [json.loads(path.read_text()) for path in folder.glob("sweep/trials/*/result.json")]
    if [result["status"] for result in results] != ["done"] * trials:
        raise RuntimeError(f"not all of the {trials} trials are done")
    ends = [result["ended"] for result in results]
    behind = [line for line in (folder / "said.txt").read_text().splitlines() if line.startswith("MLflow (")]
    return {
        "slots": slots,
        "groups": by_group(ends, watched.samples),
        "command_seconds": seconds,
        "seconds_after_last_trial": watched.began + seconds - max(ends),
        "tracking": behind[-1] if behind else "MLflow is up to date",
    }


@contextlib.contextmanager
def cluster(nodes: int | None) -> Iterator[str | None]:
    """The address of a Ray of so many raylets on this machine, each with one CPU to offer; None for none."""
    if not nodes:
        yield None
        return
    from ray.cluster_utils import Cluster

    os.environ["RAY_AUTH_MODE"] = "disabled"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1, object_store_memory=80_000_000)
        yield made.address
    finally:
        made.shutdown()


def plain(trials: int, folder: Path) -> dict[str, Any]:
    """As many trials that do nothing through Ray Tune alone."""
    watched = Watched(plain_command("b", folder, 0.0, trials), folder, plain_environment("b"))
    seconds = watched.wait()
    found = next(line for line in (folder / "said.txt").read_text().splitlines() if line.startswith("FOUND "))
    ends = json.loads(found.removeprefix("FOUND "))["ends"]
    return {"slots": SLOTS, "groups": by_group(ends, watched.samples), "command_seconds": seconds}


def real(spec: str, settings: Sequence[str], folder: Path) -> dict[str, Any]:
    """A sweep's forecast, and then the sweep."""
    given = [JACKPOT, "run", spec, "--out", folder / "sweep", *(word for each in settings for word in ("--set", each))]
    began = time.time()
    dry = subprocess.run([*given, "--dry-run", "--json"], env=ENVIRONMENT, stdout=subprocess.PIPE, check=False)
    if dry.returncode:
        raise SystemExit(f"`jackpot run {spec} --dry-run` ended with {dry.returncode}; what it said is above")
    dry_run_seconds, predicted = time.time() - began, json.loads(dry.stdout)["time"]
    seconds = Watched(given, folder, ENVIRONMENT).wait()
    status = json.loads(
        subprocess.run([JACKPOT, "status", folder / "sweep", "--json"], capture_output=True, check=True).stdout
    )
    return {
        "spec": [spec, *settings],
        "trials": status["trials"],
        "epochs": status["epochs_trained"],
        "epochs_distinct": status["epochs_distinct"],
        "slots": status["slots"],
        "busy": status["busy"],
        "seconds": seconds,
        "predicted": predicted,
        "dry_run_seconds": dry_run_seconds,
    }


def main() -> None:
    """Measure, write the figures, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=natural, default=10_000, help="of those that do next to nothing")
    parser.add_argument("--nodes", type=natural, help="raylets to run them on, with one trial each")
    parser.add_argument("--spec", default="quickstart", help="the real sweep")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the real sweep's spec")
    parser.add_argument("--only", default="noop,real", help="parts to measure")
    add_json(parser, "sweep")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - {"noop", "real"}:
        parser.error(f"--only: unknown {min(unknown)!r}; known: noop, real")
    if given.trials < 2:
        parser.error("--trials: a rate needs two at least")
    spec = str(Path(given.spec).absolute()) if Path(given.spec).exists() else given.spec
    found: dict[str, Any] = {"machine": about()}
    for part in sorted(parts, reverse=True):  # the real one first: its spec may be wrong
        # MLflow may still be at its last run where it was not waited for
        with tempfile.TemporaryDirectory(prefix="sweep-", ignore_cleanup_errors=True) as made:
            own = {name: Path(made) / name for name in ("jackpot", "plain", "real")}
            for folder in own.values():
                folder.mkdir()
            if part == "noop":
                found["noop"] = {
                    "jackpot": jackpot(given.trials, given.nodes, own["jackpot"]),
                    "plain": plain(given.trials, own["plain"]),
                }
            else:
                found["real"] = real(spec, given.set, own["real"])
        keep(given.json, found)  # what comes next may fail
    Console(width=130).print(table(found))


def table(found: dict[str, Any]) -> Table:
    """The figures as one table."""
    made = Table(title="what a sweep takes beside its trials")
    for name in ("what", "Jackpot, MLflow on", "Ray Tune alone", "ratio"):
        made.add_column(name, justify="left" if name == "what" else "right")
    if "noop" in found:
        ours, theirs = found["noop"]["jackpot"]["groups"], found["noop"]["plain"]["groups"]
        for number, (own, other) in enumerate(zip(ours, theirs, strict=True), start=1):
            made.add_row(
                f"trials to {number * own['trials']:,}: a second; driver's MB",
                *(f"{each['per_second']:.1f}; {each['mb']:.0f}" for each in (own, other)),
                f"{own['per_second'] / other['per_second']:.2f}; {own['mb'] / other['mb']:.2f}",
            )
        last_to_first = [[each[-1][name] / each[0][name] for name in ("per_second", "mb")] for each in (ours, theirs)]
        made.add_row("last over first", *(f"{speed:.2f}; {memory:.2f}" for speed, memory in last_to_first), "")
        made.add_row("MLflow at the end", found["noop"]["jackpot"]["tracking"][:60], "", "")
    if "real" in found:
        sweep, said = found["real"], found["real"]["predicted"]
        made.add_row(f"{sweep['spec'][0]}: slots busy", f"{100 * (sweep['busy'] or 0):.1f} %", "", "")
        made.add_row("  epochs trained over distinct", f"{sweep['epochs'] / sweep['epochs_distinct']:.3f}", "", "")
        made.add_row("  slots busy in the forecast", f"{100 * (said['busy'] or 0):.1f} %", "", "")
        made.add_row("  seconds of `jackpot run`", f"{sweep['seconds']:.0f}", "", "")
        of_it = f"{said['seconds'] / sweep['seconds']:.2f}"
        made.add_row("  forecast, and over these", f"{said['seconds']:.0f}", "", of_it)
    return made


if __name__ == "__main__":
    main()
