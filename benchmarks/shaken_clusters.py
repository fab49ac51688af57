"""A sweep on a cluster that faults are done to, one after the other, and what came of it."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
from cluster_faults import FAULTS, TooLate
from cluster_sweeps import AHEAD, ClusterSweep, wait_for

from orchestrator.engine.results import repeatable


@dataclass
class Found:
    """What came of a sweep that suffered faults, beside one that did not."""

    injected: list[tuple[str, str]]
    """Each fault and where."""
    lost: int
    """Trials without the result that they have undisturbed."""
    repeated: int
    """Times that a trial was begun again."""
    retrained: float
    """Epochs trained more than once."""
    faithful: bool
    """Whether every training went back to its last checkpoint at most. Not asked of those whose stage was damaged, nor
    where a clock was wrong, for what came after what is known by the hosts' clocks."""
    results_differ: list[str]
    """Where the results are not those of the sweep that suffered nothing."""
    mlflow_equal: bool
    """Whether MLflow holds every result once, and whole."""
    synced: bool
    """Whether it does since a `jackpot sync` alone, which the command had asked for."""
    seconds: float


def inject(sweep: ClusterSweep, name: str) -> bool:
    """Do a fault to a sweep once it has trained something more; `sweep.suffered` says where. False where the sweep ends
    before."""
    before = sweep.trained
    wait_for(lambda: sweep.trained > before or sweep.over, f"training before {name!r}")
    if sweep.over:
        return False
    with contextlib.suppress(TooLate):
        sweep.suffered.append((name, FAULTS[name](sweep)))
        sweep.rack.heal()
        return True
    return False


def finish(sweep: ClusterSweep) -> None:
    """Wait for the end of a sweep, and set the clocks right again. Raises RuntimeError where it ends badly."""
    code = sweep.process.wait(sweep.longest)
    for host in sweep.rack.workers:
        if host.variables.pop(AHEAD, None):
            host.kill()
    sweep.rack.heal()
    if code:
        raise RuntimeError(f"the sweep ended with {code} after {sweep.suffered}, and last said: {sweep.said[-3000:]}")


def shake(sweep: ClusterSweep, faults: Iterable[str]) -> None:
    """Run a sweep to its end, and do these faults to it one after the other. Raises RuntimeError where it ends before
    the last of them, or badly."""
    sweep.go()
    for name in faults:
        if not inject(sweep, name):
            raise RuntimeError(f"the sweep ended before {name!r}: train longer. It last said: {sweep.said[-2000:]}")
    finish(sweep)


def chaos(sweeps: Iterator[ClusterSweep], minutes: float, draw: random.Random) -> Iterator[ClusterSweep]:
    """Faults drawn from the table, one after the other, for so many minutes; where a sweep ends meanwhile, the next
    begins. Every sweep, once it has ended."""
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        sweep = next(sweeps)
        sweep.go()
        while time.monotonic() < until and inject(sweep, draw.choice(sorted(FAULTS))):
            pass
        finish(sweep)
        yield sweep


def differing(mine: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
    """Where two tables of results differ, in words; nothing where they are equal."""
    if mine.equals(theirs):
        return []
    if [*mine] != [*theirs] or [*mine["trial"]] != [*theirs["trial"]]:
        return [f"trials and columns: {sorted({*mine['trial'], *mine} ^ {*theirs['trial'], *theirs})}"]
    said = [
        f"{trial}: {column} {before!r}, now {after!r}"
        for column in theirs
        for trial, before, after in zip(theirs["trial"], theirs[column], mine[column], strict=True)
        if before != after and not (pd.isna(before) and pd.isna(after))
    ]
    return said or [f"kinds of columns: {[*theirs.dtypes]}, now {[*mine.dtypes]}"]


def found(sweep: ClusterSweep, calm: ClusterSweep, seconds: float) -> Found:
    """Compare a sweep with one that suffered nothing."""
    mine, theirs = (repeatable(pd.read_csv(each.path / "results.csv")) for each in (sweep, calm))
    damaged = {path.name.rpartition("-")[0] for path in sweep.path.glob("corrupt/*")}
    synced = sweep.catch_up()
    begun = sum("begin" in event for trial in sweep.events() for event in trial)
    return Found(
        injected=sweep.suffered,
        lost=len(theirs) - int((mine["status"] == theirs["status"]).sum()),
        repeated=begun - len(mine),
        retrained=sweep.trained - sweep.distinct,
        faithful="clock wrong" in dict(sweep.suffered)
        or all(back >= kept for stage, _, back, kept in sweep.rewinds() if stage not in damaged),
        results_differ=differing(mine, theirs),
        mlflow_equal=sweep.differences() == [],
        synced=synced,
        seconds=seconds,
    )
