"""What a network's structure costs to run: measured latency beside the dense network's, and peak memory.

Dense, this and a second dense network run in turn in one process, in palindromes (A B C C B A, the order changing from
round to round), so that a machine that slows down meanwhile slows all three. A round gives one ratio. The second dense
network is the control: its ratio must hold 1, and a gain counts only outside the control's interval. Removed weights
that a mask has set to zero are multiplied all the same: a masked network has its dense structure's latency.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

LEAST_ROUNDS, MOST_ROUNDS = 7, 200
"""Six rounds are the fewest from which a 95 % interval of the median can be had."""
BLOCK_SECONDS = 2e-3
"""A block of forward passes lasts at least this long, so that the clock's own cost does not count."""
ATTEMPTS = 3
"""How often a noisy measurement is begun or prolonged before it is left as it is, flagged."""
NOISY = 0.05
"""A ratio's interval wider than this is noisy."""


def measure(dense: nn.Module, control: nn.Module, net: nn.Module | None, images: torch.Tensor, seconds: float) -> dict:
    """Latency of `net` (None: it has the dense structure) and of `dense` for `images` (N, C, H, W), on their device,
    in about `seconds` of measuring. `control` is a copy of `dense`.

    Milliseconds a batch: medians over the rounds with their quartiles; `speedup` is dense over this, the median of
    the rounds' ratios with its 95 % interval. A noisy measurement (the control's interval without 1, or an interval
    wider than 5 %) goes on, up to three times as long, and stays flagged if that does not help."""
    nets = {"dense": dense, "control": control} | ({"this": net} if net is not None else {})
    times: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(ATTEMPTS):
        for name, more in _rounds(nets, images, seconds).items():
            times[name] += more
        found = _summary(times)
        if not found["noisy"]:
            break
    return found | {"peak_mb": peak_bytes(dense if net is None else net, images) / 1e6}


def _rounds(nets: dict[str, nn.Module], images: torch.Tensor, seconds: float) -> dict[str, list[float]]:
    """Seconds of one forward pass of each network, round by round."""
    from torch.utils.benchmark import Timer  # warms up before every block and waits for the device after it

    threads = torch.get_num_threads()
    with _inference(*nets.values()):
        timers = {
            name: Timer("net(images)", globals={"net": net, "images": images}, num_threads=threads)
            for name, net in nets.items()
        }
        once = min(timer.timeit(1).mean for timer in timers.values())
        passes = max(1, math.ceil(BLOCK_SECONDS / once))
        times: dict[str, list[float]] = {name: [] for name in nets}
        began = time.monotonic()
        for count, order in enumerate(itertools.cycle(itertools.permutations(nets))):
            if count >= MOST_ROUNDS or (count >= LEAST_ROUNDS and time.monotonic() - began > seconds):
                return times
            blocks = [(name, timers[name].timeit(passes).mean) for name in (*order, *reversed(order))]
            for name in nets:
                times[name].append(statistics.fmean(value for own, value in blocks if own == name))
    raise AssertionError  # the cycle has no end


def _summary(times: dict[str, list[float]]) -> dict[str, Any]:
    ratios = {
        name: [dense / own for dense, own in zip(times["dense"], times[name], strict=True)]
        for name in times
        if name != "dense"
    }
    control = ratios["control"]
    this = times.get("this", times["dense"])
    low, high = median_interval(control)
    intervals = [(low, high)]
    record = {"speedup": 1.0, "interval": [1.0, 1.0]}
    if "this" in ratios:
        interval = median_interval(ratios["this"])
        middle = statistics.median(ratios["this"])
        record = {"speedup": middle, "interval": list(interval)}
        intervals.append((interval[0] / middle, interval[1] / middle))
    return {
        "ms": 1e3 * statistics.median(this),
        "iqr_ms": _quartiles(this),
        "dense_ms": 1e3 * statistics.median(times["dense"]),
        "dense_iqr_ms": _quartiles(times["dense"]),
        **record,
        "control": {"speedup": statistics.median(control), "interval": [low, high]},
        "noisy": not low <= 1 <= high or any(top - bottom > NOISY for bottom, top in intervals),
        "rounds": len(control),
    }


def _quartiles(seconds: Sequence[float]) -> list[float]:
    lower, _, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return [1e3 * lower, 1e3 * upper]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the median: the order statistics k and n + 1 - k, with the largest k for which at most
    2.5 % of fair coins show fewer than k heads in n throws (the sign test's interval: it assumes no distribution).
    Below six values it is the whole range."""
    ordered, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while tail + math.comb(n, k) / 2**n <= 0.025:
        tail += math.comb(n, k) / 2**n
        k += 1
    k = max(1, k)
    return ordered[k - 1], ordered[n - k]


def peak_bytes(net: nn.Module, images: torch.Tensor) -> int:
    """Bytes of one forward pass at its peak: parameters and buffers, images, and what the pass allocates."""
    held = {tensor.data_ptr(): tensor.nbytes for tensor in [*net.parameters(), *net.buffers(), images]}
    with _inference(net):
        net(images)  # what is allocated once for all passes does not count
        allocated = _allocated_on_gpu(net, images) if images.is_cuda else _allocated(net, images)
    return sum(held.values()) + allocated


def _allocated_on_gpu(net: nn.Module, images: torch.Tensor) -> int:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    net(images)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _allocated(net: nn.Module, images: torch.Tensor) -> int:
    """By torch's profiler, which hears of every allocation."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        net(images)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]")
    return max(0, *itertools.accumulate(change for _, change in changes), 0)


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
        "runtime": f"torch {torch.__version__} eager",
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
        import platform

        return platform.processor() or platform.machine()
