"""How long networks take for one forward pass, measured beside the dense network.

Dense, the networks asked for and a second dense one run in turn in one process, in palindromes (A B C C B A, the order
changing from round to round), so that a machine that slows down meanwhile slows all of them. A round gives one ratio
for each network. The second dense network is the control: its ratio must hold 1, and a gain counts only outside the
control's interval. The process stays on as many cores as it has threads, and rounds go on until every ratio is known
to 2 %.
"""

from __future__ import annotations

import itertools
import math
import os
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from orchestrator.engine.cores import pinned
from orchestrator.engine.disturbance import drift, gpu_slowdowns, reasons, snapshot

LEAST_ROUNDS, MOST_ROUNDS = 7, 1000
"""Six rounds are the fewest from which a 95 % interval of the median can be had."""
BLOCK_SECONDS = 2e-3
"""A block of forward passes lasts at least this long, so that the clock's own cost does not count."""
COLD_SECONDS = 50e-3
"""A pass that lasts longer needs no other before it: what the caches lack at its beginning is a small part of it."""
PATIENCE = 5
"""Rounds go on for at most so many times the seconds asked for."""
WIDE = 0.02
"""A ratio's interval wider than this, as a part of the ratio, is noisy; the rounds go on until none is."""


class Timed(NamedTuple):
    """A network, and the images in the form that it takes."""

    net: nn.Module
    images: torch.Tensor


def measure(dense: Timed, control: Timed, others: Mapping[str, Timed], seconds: float) -> dict[str, dict[str, Any]]:
    """The latency of each of `others`, and of `dense` under that name, in `seconds` of measuring or up to five times
    as much. `control` is a copy of `dense`.

    Milliseconds a batch: medians over the rounds with their quartiles; `speedup` is dense over this, the median of
    the rounds' ratios with its 95 % interval. `noisy`: the interval, or the control's, is wider than 2 % after all
    that time, or the control's lies farther than 1 % from 1. `disturbed`: what went on meanwhile, a sentence each, as
    far as the system tells; `pinned`: the cores that the process kept to, None where it could not."""
    timed = {"dense": dense, "control": control, **others}
    with pinned(torch.get_num_threads()) as cores:
        before = snapshot()
        times = _rounds(timed, seconds)
        disturbed = [*reasons(before, snapshot(), cores), *gpu_slowdowns(dense.images.device), *drift(times["dense"])]
    return {
        name: _summary(times["dense"], times["control"], times[name] if name != "dense" else None)
        | {"disturbed": disturbed, "pinned": cores}
        for name in ("dense", *others)
    }


def _rounds(timed: Mapping[str, Timed], seconds: float) -> dict[str, list[float]]:
    """Seconds of one forward pass of each network, round by round."""
    with _inference(*(net for net, _ in timed.values())):
        # each network its own number: one that mask and compaction have left nothing of is 10,000 times as fast
        passes = {name: max(1, math.ceil(BLOCK_SECONDS / _once(each))) for name, each in timed.items()}
        times: dict[str, list[float]] = {name: [] for name in timed}
        began = time.monotonic()
        for order in itertools.cycle(itertools.permutations(timed)):
            if _enough(times, time.monotonic() - began, seconds):
                return times
            blocks = [(name, _block(timed[name], passes[name])) for name in (*order, *reversed(order))]
            for name in timed:
                times[name].append(statistics.fmean(value for own, value in blocks if own == name))
    raise AssertionError  # the cycle has no end


def _once(timed: Timed) -> float:
    """Seconds of a forward pass, roughly; the first one is a warm-up."""
    return min(_block(timed, 1) for _ in range(2))


def _block(timed: Timed, passes: int) -> float:
    """Seconds of a forward pass, the mean of several after one more that fills the caches."""
    net, images = timed
    wait = torch.cuda.synchronize if images.is_cuda else None
    began = time.perf_counter()
    net(images)
    if wait:
        wait()
    if passes == 1 and (took := time.perf_counter() - began) > COLD_SECONDS:
        return took
    began = time.perf_counter()
    for _ in range(passes):
        net(images)
    if wait:
        wait()
    return (time.perf_counter() - began) / passes


def _enough(times: Mapping[str, Sequence[float]], elapsed: float, seconds: float) -> bool:
    """Whether no more rounds are needed, or none are left."""
    count = len(times["dense"])
    if count < LEAST_ROUNDS or (elapsed < seconds and count < MOST_ROUNDS):
        return False
    if elapsed >= PATIENCE * seconds or count >= MOST_ROUNDS:
        return True
    return all(_width(_ratios(times["dense"], own)) < WIDE for name, own in times.items() if name != "dense")


def _ratios(dense: Sequence[float], own: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(dense, own, strict=True)]


def _width(ratios: Sequence[float]) -> float:
    """That of the interval, as a part of the median."""
    low, high = median_interval(ratios)
    return (high - low) / statistics.median(ratios)


def _summary(dense: Sequence[float], control: Sequence[float], own: Sequence[float] | None) -> dict[str, Any]:
    """Of one network's times; None: of the dense network's, whose ratio is 1."""
    beside = _ratios(dense, control)
    low, high = median_interval(beside)
    noisy = high < 1 - WIDE / 2 or low > 1 + WIDE / 2 or _width(beside) > WIDE
    record: dict[str, Any] = {"speedup": 1.0, "interval": [1.0, 1.0]}
    if own is not None:
        ratios = _ratios(dense, own)
        record = {"speedup": statistics.median(ratios), "interval": list(median_interval(ratios))}
        noisy |= _width(ratios) > WIDE
    times = dense if own is None else own
    return {
        "ms": 1e3 * statistics.median(times),
        "iqr_ms": _quartiles(times),
        "dense_ms": 1e3 * statistics.median(dense),
        "dense_iqr_ms": _quartiles(dense),
        **record,
        "control": {"speedup": statistics.median(beside), "interval": [low, high]},
        "noisy": noisy,
        "rounds": len(dense),
    }


def _quartiles(seconds: Sequence[float]) -> list[float]:
    lower, _, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return [1e3 * lower, 1e3 * upper]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the median: the order statistics k and n + 1 - k, with the largest k for which at most
    2.5 % of fair coins show fewer than k heads in n throws (the sign test's interval: it assumes no distribution).
    Below six values it is the whole range."""
    ordered, n = sorted(values), len(values)
    k = _rank(n)
    return ordered[k - 1], ordered[n - k]


@cache
def _rank(n: int) -> int:
    tail, k = 0, 0
    while 40 * (tail := tail + math.comb(n, k)) <= 2**n:
        k += 1
    return max(1, k)


@contextmanager
def _inference(*nets: nn.Module) -> Iterator[None]:
    for net in nets:
        net.eval()
    with torch.inference_mode():
        yield


def conditions(device: torch.device) -> dict[str, Any]:
    """What a latency depends on beside the structure: same conditions, same latency."""
    return {
        "device_type": device.type,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "dtype": "float32",
        "memory_format": "channels_last",
    }


def surroundings() -> dict[str, Any]:
    """What else was so while measuring, for a reader who wonders about a number."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "governor": governor.read_text(encoding="utf-8").strip() if governor.exists() else None,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "time": time.time(),
    }


def device_name(device: torch.device) -> str:
    """What the device's maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
