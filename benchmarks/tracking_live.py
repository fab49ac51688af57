"""How late MLflow is while a sweep runs: of every epoch that a trial ends, the seconds until its numbers can be read
from the sweep's own database.

    python benchmarks/tracking_live.py [SPEC]    (default: quickstart)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

JACKPOT = Path(sys.executable).with_name("jackpot")
ASKED = 15.0
"""Seconds within which MLflow should move."""
EVERY = 0.5
"""Seconds between two looks, by which a lag may be too long."""
# what an epoch says stands in MLflow with the time of the epoch's end
POINTS = "select run_uuid, key, step, timestamp from metrics where key like 'course/%'"


def main() -> None:
    """Run the sweep, watch its database, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", nargs="?", default="quickstart")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tracking-live-") as folder:
        lags = watched(given.spec, Path(folder) / "sweep")
    table = Table(title=f"{given.spec}: seconds from an epoch's end until MLflow shows it")
    for name in ("points", "median", "95 % within", "longest", f"later than {ASKED:g} s"):
        table.add_column(name, justify="right")
    late = sum(lag > ASKED for lag in lags)
    within = statistics.quantiles(lags, n=20)[-1]
    table.add_row(str(len(lags)), f"{statistics.median(lags):.1f}", f"{within:.1f}", f"{max(lags):.1f}", str(late))
    Console(width=130).print(table)


def watched(spec: str, folder: Path) -> list[float]:
    """The lag of every point of a sweep that is run into a folder. Raises RuntimeError where the sweep ends badly."""
    lags: dict[tuple[str, str, int], float] = {}
    said = folder.parent / "said.txt"
    with open(said, "w") as output:
        command = [JACKPOT, "run", spec, "--out", folder]
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        while process.poll() is None:
            for run, key, step, milliseconds in _points(folder / "mlflow.db"):
                lags.setdefault((run, key, step), time.time() - milliseconds / 1000)
            time.sleep(EVERY)
    if process.returncode:
        raise RuntimeError(f"the sweep ended with {process.returncode}, and last said: {said.read_text()[-2000:]}")
    return sorted(lags.values())


def _points(database: Path) -> list[tuple[str, str, int, int]]:
    with contextlib.suppress(sqlite3.OperationalError):  # not there yet, without tables, or locked
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            return connection.execute(POINTS).fetchall()
        finally:
            connection.close()
    return []


if __name__ == "__main__":
    main()
