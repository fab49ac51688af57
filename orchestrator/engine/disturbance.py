"""What disturbed a measurement, as far as the system tells: other processes, the host, heat."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from orchestrator.engine.cores import PROC, SYS, Ticks, busy_share, own_threads, ticks

WAITED = 0.02
"""Share of the time that this process stood in line for a core before it is said."""
STOLEN = 0.02
BESIDE = 0.25
"""Share of the time that a core beside the measuring ones worked before it is said."""
DRIFT = 0.05
"""By how much the dense network's time may change between the first and the last third of the rounds."""
SLOWDOWNS = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "sw_power_cap")
"""What slows an NVIDIA GPU down, as nvidia-smi names it."""


@dataclass(frozen=True)
class Snapshot:
    """Counters of the system's, at one moment; empty where it does not say."""

    seconds: float
    waited: dict[int, float]
    """Thread of this process -> seconds that it has stood in line for a core."""
    cores: dict[int, Ticks]
    throttled: dict[int, int]
    """Core -> how often its heat has slowed it down."""


def snapshot(proc: Path = PROC, sys: Path = SYS) -> Snapshot:
    """The counters now."""
    return Snapshot(time.monotonic(), _waited(proc), ticks(proc), _throttled(sys))


def reasons(before: Snapshot, after: Snapshot, measuring: Sequence[int] | None) -> list[str]:
    """What went on between two moments that a measurement on the cores `measuring` (None: on any) should not have
    heard, a sentence each."""
    said = []
    seconds = after.seconds - before.seconds
    waited = max((after.waited[own] - before.waited[own] for own in after.waited.keys() & before.waited), default=0.0)
    if waited > WAITED * seconds:
        said.append(f"other processes had its core for {_percent(waited / seconds)} of the time")
    for core in measuring if measuring is not None else before.cores:
        stolen = _stolen(core, before, after)
        if stolen > STOLEN:
            said.append(f"the host took core {core} away for {_percent(stolen)} of the time")
    beside = {
        core: busy_share(core, before.cores, after.cores) or 0.0
        for core in before.cores
        if measuring is not None and core not in measuring
    }
    if loud := [core for core, share in beside.items() if share > BESIDE]:
        share = statistics.fmean(beside[core] for core in loud)
        said.append(f"{len(loud)} other {_cores(loud)} worked {_percent(share)} of the time")
    if hot := [core for core, count in after.throttled.items() if count > before.throttled.get(core, count)]:
        said.append(f"heat slowed {len(hot)} {_cores(hot)} down")
    return said


def drift(seconds: Sequence[float]) -> list[str]:
    """Whether the dense network's time changed from the first third of the rounds to the last; in a list."""
    third = len(seconds) // 3
    if third < 2:
        return []
    change = statistics.median(seconds[-third:]) / statistics.median(seconds[:third]) - 1
    if abs(change) <= DRIFT:
        return []
    how = "slower, as a processor that gets hot does" if change > 0 else "quicker"
    return [f"the dense network became {_percent(abs(change))} {how}, from the first third of the rounds to the last"]


def gpu_slowdowns(device: torch.device) -> list[str]:
    """What slows this GPU down at this moment, as nvidia-smi says; nothing without one, or without that program."""
    if device.type != "cuda":
        return []
    asked = ",".join(f"clocks_event_reasons.{name}" for name in SLOWDOWNS)
    with suppress(OSError, subprocess.SubprocessError, AttributeError):
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        command = ["nvidia-smi", "-i", uuid, f"--query-gpu={asked}", "--format=csv,noheader"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        return active_slowdowns(shown)
    return []


def active_slowdowns(shown: str) -> list[str]:
    """The reasons in nvidia-smi's line "Active, Not Active, ..."."""
    states = [state.strip() for state in shown.strip().split(",")]
    return [
        f"the GPU ran slower: {name.replace('_', ' ')}"
        for name, state in zip(SLOWDOWNS, states, strict=False)
        if state == "Active"
    ]


def _waited(proc: Path) -> dict[int, float]:
    """Of each thread the kernel counts the nanoseconds that it could have run and did not."""
    found: dict[int, float] = {}
    for thread in own_threads(proc):
        with suppress(OSError, ValueError, IndexError):
            text = (proc / "self" / "task" / str(thread) / "schedstat").read_text(encoding="utf-8")
            found[thread] = int(text.split()[1]) / 1e9
    return found


def _throttled(sys: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    with suppress(OSError, ValueError):
        for path in sys.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
            found[int(path.parts[-3][3:])] = int(path.read_text(encoding="utf-8"))
    return found


def _stolen(core: int, before: Snapshot, after: Snapshot) -> float:
    if core not in before.cores or core not in after.cores:
        return 0.0
    total = after.cores[core].total - before.cores[core].total
    return (after.cores[core].stolen - before.cores[core].stolen) / total if total > 0 else 0.0


def _cores(which: Sequence[int]) -> str:
    return "core" if len(which) == 1 else "cores"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
