"""What a sweep loses to an MLflow server in trouble: the same sweep with a server that is well, and with one that is
killed for a while, answers 500, answers each request 10 s late, or has no space left.

    python benchmarks/tracking_faults.py [--trials N] [--epochs N] [--rounds N] [--only killed,slow]

The wall time is from the first trial's end, when the trouble begins, to the last one's, on one Ray, and a ratio is to
the undisturbed sweep of the same round: what else the machine does is in both. Beside it stand the seconds that the
sweep then waited for MLflow, and whether MLflow held what is on disk after one more pass, each trial once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from disturbed_sweeps import Found, disturbed
from faulty_mlflow import FAULTS, faulty
from rich.console import Console
from rich.table import Table


def main() -> None:
    """Run what is asked for and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3, help="of each fault and one undisturbed sweep")
    parser.add_argument("--only", default=",".join(FAULTS[1:]), help="faults, by name")
    given = parser.parse_args()
    faults = ["nothing", *given.only.split(",")]
    import ray

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    _once("nothing", 2, 1)  # starts the workers, which later sweeps use again
    found: dict[str, list[Found]] = {fault: [] for fault in faults}
    for _ in range(given.rounds):
        for fault in faults:
            found[fault].append(_once(fault, given.trials, given.epochs))
    Console(width=130).print(table_of(found, given.trials, given.epochs))


def table_of(found: dict[str, list[Found]], trials: int, epochs: int) -> Table:
    """A row a fault: what came of it in each round. `found` has the undisturbed sweeps as "nothing"."""
    rounds = len(found["nothing"])
    table = Table(title=f"{trials} trials of {epochs} epochs, {rounds} rounds")
    for name in ("server", "wall s", "x undisturbed (each round)", "median", "then waited s", "trials done", "MLflow"):
        table.add_column(name, justify="left" if name in ("server", "MLflow") else "right")
    for fault, runs in found.items():
        table.add_row(*_row(fault, runs, found["nothing"], trials))
    return table


def _once(fault: str, trials: int, epochs: int) -> Found:
    print(f"{trials} trials, server: {fault} ...", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="tracking-faults-") as folder,
        faulty(Path(folder) / "server", small=fault == "full") as served,
    ):
        return disturbed(fault, Path(folder) / "sweep", trials, epochs, served)


def _row(fault: str, runs: list[Found], calm: list[Found], trials: int) -> list[str]:
    ratios = [run.wall / its.wall for run, its in zip(runs, calm, strict=True)]
    wrong = [line for run in runs for line in run.differences]
    return [
        fault,
        " ".join(f"{run.wall:.1f}" for run in runs),
        " ".join(f"{ratio:.3f}" for ratio in ratios),
        f"{statistics.median(ratios):.3f}",
        " ".join(f"{run.close:.1f}" for run in runs),
        " ".join(f"{run.statuses.count('done')}/{trials}" for run in runs),
        wrong[0] if wrong else "as on disk, each once",
    ]


if __name__ == "__main__":
    main()
