"""What the pieces of a sweep's trials take on this machine: a trial of each method is gone through, in as many
processes at once as trials will run at once, for they slow each other down."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from orchestrator.engine.few_steps import LONGEST
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.pages import huge_pages
from orchestrator.engine.rehearser import Cell, Rehearsed, Rehearser
from orchestrator.engine.trials import Trial
from orchestrator.spec.models import Spec

PROCESSES = 16
"""At most so many processes measure at once."""
START_SECONDS = 120.0
"""How long a process may take until its first step."""


@dataclass
class Rehearsal:
    """What was measured, the mean over the processes that measured it."""

    cells: dict[Cell, Rehearsed] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    """Network -> seconds that measuring the latency of its dense structure takes."""
    start: float = 0.0
    """Seconds until a new process has made its first step of training."""
    failed: dict[Cell, str] = field(default_factory=dict)
    """Cells whose trial could not be gone through, and why."""


def rehearse(spec: Spec, trials: Sequence[Trial], processes: int, seconds: float) -> Rehearsal:
    """Go through trials, each of another cell, in so many processes at once, for about so many seconds once these have
    begun. Trials that time does not suffice for are left out."""
    os.environ.update(huge_pages())  # as trials will have
    context = multiprocessing.get_context("spawn")
    processes = max(1, min(processes, PROCESSES))
    barrier = context.Barrier(processes)
    children, heard = [], dict[Connection, list[dict[str, Any]]]()
    for number in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        given = (spec, list(trials), seconds, number == 0, time.time(), barrier, theirs)
        child = context.Process(target=_child, args=given, daemon=True)
        child.start()
        theirs.close()
        children.append(child)
        heard[ours] = []
    try:
        _listen(heard, seconds)
    finally:
        for child in children:
            child.kill()
            child.join()
    return _together([said for own in heard.values() for said in own])


def _listen(heard: dict[Connection, list[dict[str, Any]]], seconds: float) -> None:
    """Hear what processes say until they have ended, or their time is over: what cannot be interrupted is not waited
    for."""
    left, until = list(heard), time.monotonic() + START_SECONDS
    begun = False
    while left and (patience := until - time.monotonic()) > 0:
        for connection in wait(left, timeout=patience):
            assert isinstance(connection, Connection)
            try:
                heard[connection].append(said := connection.recv())
            except EOFError:
                left.remove(connection)
                continue
            if "start" in said and not begun:
                begun, until = True, time.monotonic() + 1.5 * seconds + LONGEST


def _together(said: Sequence[Mapping[str, Any]]) -> Rehearsal:
    """What the processes said, averaged."""
    found = Rehearsal()
    cells: dict[Cell, list[Rehearsed]] = defaultdict(list)
    starts = [each["start"] for each in said if "start" in each]
    for each in said:
        if "rehearsed" in each:
            cells[each["cell"]].append(each["rehearsed"])
        elif "error" in each:
            found.failed[each["cell"]] = each["error"]
        elif "latency" in each:
            found.latency[each["model"]] = each["latency"]
    found.cells = {cell: _mean(own) for cell, own in cells.items()}
    found.start = statistics.fmean(starts) if starts else 0.0
    return found


def _mean(rehearsed: Sequence[Rehearsed]) -> Rehearsed:
    """The mean of a trial that several processes went through; of a course that depends on data, the longest ones'."""
    longest = max(len(each.pieces) for each in rehearsed)
    alike = [each for each in rehearsed if len(each.pieces) == longest]
    numbers = ("own", "step", "validation", "test")
    pieces = (
        replace(own[0], **{name: statistics.fmean(getattr(piece, name) for piece in own) for name in numbers})
        for own in zip(*(each.pieces for each in alike), strict=True)
    )
    return Rehearsed(tuple(pieces), statistics.fmean(each.around for each in alike))


def _child(
    spec: Spec, trials: Sequence[Trial], seconds: float, first: bool, began: float, barrier: Any, told: Connection
) -> None:
    """What a process does: it tells of its `start`, of each `cell`, and the first one of each network's `latency`."""
    with open(os.devnull, "w") as nowhere:  # what methods print, and torch's profiler
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    import torch

    torch.set_num_threads(spec.resources.cpu)
    with tempfile.TemporaryDirectory(prefix="jackpot-rehearsal-") as folder:
        rehearser = Rehearser(spec, SweepFolder(Path(folder)))
        rehearser.warm_up(trials[0])
        told.send({"start": time.time() - began})
        with contextlib.suppress(threading.BrokenBarrierError):  # one has died
            barrier.wait(START_SECONDS)
        for said in rehearser.run(trials, seconds):
            told.send(said)
        for said in rehearser.latencies() if first and spec.latency.enabled else ():
            told.send(said)
