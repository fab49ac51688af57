"""Does a sweep survive what clusters do? For each fault: trials lost and repeated, epochs trained again, and whether
results and MLflow's runs are those of a sweep that nothing happened to.

    python benchmarks/faults.py [FAULT ...] [--times N] [--epochs E] [--chaos MINUTES] [--seed S] [--json FILE]

Four hosts made of namespaces on this machine (a head and three workers) in one Ray, and a fifth with an MLflow server;
needs root, util-linux and iproute2. --chaos draws the faults, one after the other, after those that are named.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from cluster_faults import FAULTS
from cluster_sweeps import EPOCHS, ClusterSweep, SweepRack
from rich.console import Console
from rich.table import Table
from shaken_clusters import Found, chaos, finish, found, shake


def main() -> None:
    """Run the sweeps and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", nargs="*", metavar="FAULT", help=f"default: every one of {', '.join(FAULTS)}")
    parser.add_argument("--times", type=int, default=1, help="sweeps for each fault")
    parser.add_argument("--seconds", type=float, default=60, help="how long what passes lasts")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each training; a sweep has 15 trainings")
    parser.add_argument("--chaos", type=float, metavar="MINUTES", help="draw the faults, for so long")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was found, sweep by sweep")
    given = parser.parse_args()
    if unknown := {*given.fault} - {*FAULTS}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; known: {', '.join(FAULTS)}")
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        SweepRack(Path(folder), "red", "green", "blue") as rack,
    ):
        calm = ClusterSweep(rack, "calm", given.epochs)
        calm.go()
        finish(calm)
        names = given.fault or ([*FAULTS] if given.chaos is None else [])
        rows = one_by_one(rack, calm, names, given.times, given.seconds, given.seed)
        rows += in_chaos(rack, calm, given.chaos or 0, given.seconds, given.seed)
    if given.json:
        given.json.write_text(json.dumps([{"fault": name, **asdict(each)} for name, each in rows], indent=1))
    Console(width=130).print(table_of(rows))


def one_by_one(
    rack: SweepRack, calm: ClusterSweep, faults: list[str], times: int, seconds: float, seed: int
) -> list[tuple[str, Found]]:
    """Each fault alone, in sweeps of its own."""
    rows = []
    for name in faults:
        for number in range(times):
            print(f"{name}, sweep {number + 1} of {times} ...", file=sys.stderr, flush=True)
            folder = f"{name.replace(' ', '-')}-{number}"
            sweep = ClusterSweep(rack, folder, calm.epochs, seconds=seconds, seed=seed + number)
            began = time.monotonic()
            shake(sweep, [name])
            rows.append((name, found(sweep, calm, time.monotonic() - began)))
            print(rows[-1][1], file=sys.stderr, flush=True)
    return rows


def in_chaos(rack: SweepRack, calm: ClusterSweep, minutes: float, seconds: float, seed: int) -> list[tuple[str, Found]]:
    """Drawn faults, in as many sweeps as come to their ends meanwhile."""

    def sweeps() -> Iterator[ClusterSweep]:
        number = 0
        while True:
            yield ClusterSweep(rack, f"chaos-{number}", calm.epochs, seconds=seconds, seed=seed + number)
            number += 1

    rows, began = [], time.monotonic()
    for sweep in chaos(sweeps(), minutes, random.Random(seed)):
        rows.append((", ".join(name for name, _ in sweep.suffered), found(sweep, calm, time.monotonic() - began)))
        print(rows[-1][1], file=sys.stderr, flush=True)
        began = time.monotonic()
    return rows


def table_of(rows: list[tuple[str, Found]]) -> Table:
    """A row a fault, the sweeps that suffered it together."""
    table = Table(title="what a sweep of 7 trials comes to under each fault")
    for name in ("fault", "injected", "lost", "repeated", "epochs again", "within checkpoints", "results", "MLflow"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for name in dict.fromkeys(name for name, _ in rows):
        of_fault = [each for other, each in rows if other == name]
        faithful, in_mlflow = (all(getattr(each, what) for each in of_fault) for what in ("faithful", "mlflow_equal"))
        table.add_row(
            name,
            str(sum(len(each.injected) for each in of_fault)),
            str(sum(each.lost for each in of_fault)),
            str(sum(each.repeated for each in of_fault)),
            f"{sum(each.retrained for each in of_fault):.2f}",
            "yes" if faithful else "NO",
            "DIFFER" if any(each.results_differ for each in of_fault) else "equal",
            f"equal{', after sync' * any(each.synced for each in of_fault)}" if in_mlflow else "DIFFER",
        )
    return table


if __name__ == "__main__":
    main()
