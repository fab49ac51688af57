"""Is anything trained twice, and are the slots busy? Epochs trained over distinct epochs and the busy share of the
slots, undisturbed and under ten kills -9, half of the driver and half of a worker.

    python benchmarks/stages.py [--kills N]    (0: undisturbed only)

Trainings are of seconds. The share of the slots is the undisturbed sweep's: between kills the slots are empty while Ray
starts again. That of the quickstart: sweep.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from kills import Sweep
from rich.console import Console
from rich.table import Table

SEED = 2026


def main() -> None:
    """Run the sweeps and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=24, help="of each training")
    given = parser.parse_args()
    table = Table(title="what a sweep trains, and how busy its slots are")
    for name in ("sweep", "disturbed by", "seconds", "epochs trained", "distinct", "trained / distinct", "slots busy"):
        table.add_column(name, justify="right" if name not in ("sweep", "disturbed by") else "left")
    with tempfile.TemporaryDirectory(prefix="stages-") as folder:
        calm, shaken = (Sweep(Path(folder) / name / "sweep", given.epochs) for name in ("calm", "shaken"))
        rows = [(f"14 trials of {given.epochs} epochs", "nothing", calm, _timed(lambda: calm.shake(0, SEED)))]
        if given.kills:
            killing = _timed(lambda: shaken.shake(given.kills, SEED))
            rows.append(("the same", f"{given.kills} kills -9", shaken, killing))
        for name, by, sweep, seconds in rows:
            busy = "" if sweep.busy is None or sweep is shaken else f"{100 * sweep.busy:.1f} %"
            ratio = sweep.trained / sweep.distinct
            numbers = (f"{seconds:.0f}", f"{sweep.trained:.2f}", f"{sweep.distinct:g}", f"{ratio:.3f}", busy)
            table.add_row(name, by, *numbers)
        Console(width=130).print(table)
        if given.kills:
            back = shaken.rewinds()
            faithful = sum(start >= kept for *_, start, kept in back)
            print(f"{len(back)} trainings went back under the kills, {faithful} to their last checkpoint or later")


def _timed(run) -> float:  # type: ignore[no-untyped-def]  # whatever it returns
    began = time.monotonic()
    run()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
