"""What this machine can do at best: its measured matmul rate and memory bandwidth, the floor under what the
other scripts time.

    python -m benchmarks.machine [--threads N]

prints both for float32 and bfloat16."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CPU = torch.device("cpu")
SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Sides of the square matrices; the better rate counts."""
SECONDS = 0.5
"""Of one measurement, at least."""
LARGE = 2**28
"""Bytes of each of the triad's three vectors, at least: more than a cache holds."""


def matmul_rate(threads: int = 1, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> float:
    """FLOP/s of torch's product of two large square matrices, 2 n^3 FLOPs each: the best of several runs."""
    with _threads(threads):
        rates = []
        for side in SIZES[device.type]:
            left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            out = torch.empty(side, side, dtype=dtype, device=device)
            rates.append(2 * side**3 / _best(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), device))
    return max(rates)


def bandwidth(threads: int = 1, device: torch.device = CPU) -> float:
    """Bytes/s of the triad a = b + s c on vectors that no cache holds (McCalpin's STREAM: two read, one written; what
    a processor reads before it writes is not counted): the best of several runs. The vectors are twice the last
    cache's size, if they fit an eighth of the memory."""
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 24
    count = max(LARGE, min(2 * last_cache(), room)) // 4
    with _threads(threads):
        a, b, c = (torch.ones(count, device=device) for _ in range(3))
        return 3 * 4 * count / _best(lambda: torch.add(b, c, alpha=3.0, out=a), device)


def last_cache() -> int:
    """Bytes of the processor's largest cache, as the system says it; 0 where it does not."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="utf-8").strip()
        sizes.append(int(text[:-1]) * {"K": 2**10, "M": 2**20}.get(text[-1], 1))
    return max(sizes)


def about() -> dict[str, object]:
    """The machine and the versions that a figure belongs to."""
    from orchestrator.engine.latency import device_name

    return {
        "processor": device_name(CPU),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def _best(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the quickest run."""
    took = []
    run()
    began = time.perf_counter()
    while len(took) < 3 or time.perf_counter() - began < SECONDS:
        before = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - before)
    return min(took)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    for name, value in about().items():
        print(f"{name:<13} {value}")
    for dtype in (torch.float32, torch.bfloat16):
        print(f"{str(dtype)[6:]:<13} {matmul_rate(threads, dtype) / 1e9:.1f} GFLOP/s, {threads} threads")
    print(f"{'bandwidth':<13} {bandwidth(threads) / 1e9:.1f} GB/s")


if __name__ == "__main__":
    main()
