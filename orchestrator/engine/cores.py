"""The processor cores that a measurement runs on: the least loaded, and as many as it has threads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PROC, SYS = Path("/proc"), Path("/sys/devices/system/cpu")
LOOK_SECONDS = 0.1
"""How long the cores are watched before some are chosen."""


class Ticks(NamedTuple):
    """What a core has done since the machine was started, in the kernel's ticks."""

    busy: int
    """For any process of this system."""
    stolen: int
    """For another virtual machine of the host."""
    total: int


@contextmanager
def pinned(threads: int) -> Iterator[list[int] | None]:
    """This process on as many cores as it has threads, the least loaded of those it may use, until the block ends:
    all its threads, for those of OpenMP have long been started. None, and nothing done, where the system knows no
    affinity or refuses it."""
    before = _affinities()
    cores = _chosen(threads) if before else None
    try:
        yield cores if cores and _pin({thread: {*cores} for thread in before}) else None
    finally:
        own = before.get(os.getpid(), set())
        _pin({thread: before.get(thread, own) for thread in _affinities()} if cores else {})


def _affinities() -> dict[int, set[int]]:
    """The cores that each thread of this process may use; nothing where the system does not say."""
    found: dict[int, set[int]] = {}
    if hasattr(os, "sched_getaffinity"):
        for thread in own_threads():
            with suppress(OSError):  # it has ended
                found[thread] = os.sched_getaffinity(thread)
    return found


def own_threads(proc: Path = PROC) -> list[int]:
    """The ids of this process's threads; its own alone where the system does not list them."""
    try:
        return sorted(int(path.name) for path in (proc / "self" / "task").iterdir())
    except OSError:
        return [os.getpid()]


def _pin(wanted: Mapping[int, set[int]]) -> bool:
    """Whether the main thread could be put on its cores."""
    done = False
    for thread, cores in wanted.items():
        with suppress(OSError):
            os.sched_setaffinity(thread, cores)
            done |= thread == os.getpid()
    return done


def _chosen(threads: int) -> list[int]:
    allowed = sorted(os.sched_getaffinity(0))
    if threads >= len(allowed):
        return allowed
    before = ticks()
    time.sleep(LOOK_SECONDS)
    return quietest(threads, allowed, before, ticks())


def quietest(count: int, allowed: Iterable[int], before: Mapping[int, Ticks], after: Mapping[int, Ticks]) -> list[int]:
    """The cores that did least between two samples; two that are one physical core only where there are no others."""
    order = sorted(allowed, key=lambda core: (busy_share(core, before, after) or 0.0, core))
    taken: list[int] = []
    doubled: list[int] = []
    for core in order:
        (doubled if siblings(core) & {*taken} else taken).append(core)
    return sorted([*taken, *doubled][:count])


def siblings(core: int, root: Path = SYS) -> set[int]:
    """The cores that share a physical one with this core, itself among them."""
    try:
        text = (root / f"cpu{core}" / "topology" / "thread_siblings_list").read_text(encoding="utf-8")
        ranges = [part.split("-") for part in text.strip().split(",")]
        return {core for ends in ranges for core in range(int(ends[0]), int(ends[-1]) + 1)}
    except (OSError, ValueError):
        return {core}


def ticks(proc: Path = PROC) -> dict[int, Ticks]:
    """Every core's ticks; nothing where the system does not say."""
    found: dict[int, Ticks] = {}
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / "stat").read_text(encoding="utf-8").splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name != "cpu":
                # user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already
                counts = [*map(int, fields[:8])]
                idle, stolen = counts[3] + counts[4], counts[7]
                found[int(name[3:])] = Ticks(sum(counts) - idle - stolen, stolen, sum(counts))
    return found


def busy_share(core: int, before: Mapping[int, Ticks], after: Mapping[int, Ticks]) -> float | None:
    """The share of the time between two samples that a core worked; None where it is not known."""
    if core not in before or core not in after or after[core].total <= before[core].total:
        return None
    return (after[core].busy - before[core].busy) / (after[core].total - before[core].total)
