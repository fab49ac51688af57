"""How fast a ticket trains: Jackpot's trainer beside a plain loop, on the same network, images and batch, one thread.

    python -m benchmarks.train [--device cpu] [--root IMAGES] [--nets resnet20,vgg19] [--turns N] [--seconds S]
        [--json FILE] [--profile]

The plain loop: contiguous NCHW, a DataLoader of 2 workers with torchvision's transforms, and after each backward pass
the gradient set to zero wherever the weight is zero, as the code of Su et al. (2020) does. All take turns in one
process, and a table shows images a second (medians over turns), their ratios, the share of a step that making its
images takes, the share of the floor (FLOPs of forward and backward passes over the machine's measured matmul rate), and
what each of two trials that train at once still has of that. Neither Ray nor MLflow is loaded. --root: a folder with
train/CLASS/*.jpg and test/CLASS/*.jpg; without it images are made up. The digits are the real ones.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import about, matmul_rate
from rich.console import Console
from rich.table import Table
from trainers import KINDS, NETS, WORKERS, Contest, Ours, Plain, contest

from orchestrator.engine.train import PASSES

PROFILED = 12
"""Operations that a profile shows."""


def timed(run: Callable[[int], None], steps: int) -> float:
    """Seconds a step."""
    began = time.perf_counter()
    run(steps)
    return (time.perf_counter() - began) / steps


def alone(contest: Contest, turns: int, seconds: float, profiles: bool) -> dict[str, Any]:
    """Seconds a step of each kind, medians over turns of about so many seconds, and those of making the images."""
    kinds = {name: make(contest) for name, make in KINDS.items()}
    once = {}
    for name, kind in kinds.items():
        kind.run(2)
        once[name] = timed(kind.run, 2)
    steps = {name: max(1, round(seconds / step)) for name, step in once.items()}
    took: dict[str, list[float]] = {name: [] for name in [*kinds, "images"]}
    ours = kinds["float32"]
    assert isinstance(ours, Ours)
    for turn in range(turns):
        for name in kinds if turn % 2 else reversed(kinds):
            if name == "plain":
                kinds[name].run(2 * WORKERS)  # what the workers have made ready meanwhile
            took[name].append(timed(kinds[name].run, steps[name]))
        took["images"].append(timed(ours.make_batches, max(10, steps["float32"])))
    if profiles:
        for name in ("plain", "float32"):
            print(f"\n{name}:\n{profile(kinds[name])}")
    return {name: statistics.median(own) for name, own in took.items()}


def profile(kind: Plain | Ours) -> str:
    """Where the time of three steps goes, by operation."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiling

    with profiling(activities=[ProfilerActivity.CPU]) as profiler:
        kind.run(3)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    rows = [(event.key, event.self_cpu_time_total / whole, event.count) for event in events[:PROFILED]]
    return "\n".join(f"  {share:6.1%}  {count:6d} x  {name}" for name, share, count in rows)


def beside(name: str, root: str | None, device: str, kind: str, seconds: float, barrier: Any, results: Any) -> None:
    """One of two trials that train at once: puts its seconds a step."""
    torch.set_num_threads(1)
    made = KINDS[kind](contest(name, root, torch.device(device)))
    made.run(2)
    steps = max(1, round(2 * seconds / timed(made.run, 2)))
    barrier.wait()
    if isinstance(made, Plain):
        made.run(2 * WORKERS)
    results.put(timed(made.run, steps))


def at_once(name: str, root: str | None, device: str, kind: str, seconds: float) -> float:
    """Seconds a step of each of two trials that train at once."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    both = [
        context.Process(target=beside, args=(name, root, device, kind, seconds, barrier, results)) for _ in range(2)
    ]
    for process in both:
        process.start()
    found = [results.get(timeout=600) for _ in both]
    for process in both:
        process.join()
    return statistics.fmean(found)


def row(name: str, asked: argparse.Namespace, rates: dict[str, float]) -> dict[str, Any]:
    """All that is measured of a network."""
    own = contest(name, asked.root, torch.device(asked.device))
    seconds, batch = alone(own, asked.turns, asked.seconds, asked.profile), own.setting.spec.recipe.batch
    flops = 2 * PASSES * own.setting.macs.total * batch
    two = {kind: at_once(name, asked.root, asked.device, kind, asked.seconds) for kind in ("plain", "float32")}
    return {
        "net": name,
        "batch": batch,
        "images_per_second": {kind: batch / seconds[kind] for kind in KINDS},
        "ratio": {kind: seconds["plain"] / seconds[kind] for kind in ("float32", "bfloat16")},
        "images_share": seconds["images"] / seconds["float32"],
        "floor_share": {
            kind: flops / rates[kind] / seconds[kind] for kind in ("float32", "bfloat16")
        } | {"plain": flops / rates["float32"] / seconds["plain"]},
        "two_at_once": {kind: seconds[kind] / two[kind] for kind in two},
        "two_ratio": two["plain"] / two["float32"],
    }  # fmt: skip


def show(rows: list[dict[str, Any]], device: str) -> None:
    """Print the table."""
    table = Table(title=f"images a second of training, {device}, one thread; ratios to the plain loop of the same run")
    for column in ("net (batch)", "plain", "Jackpot", "ratio", "bfloat16", "ratio", "making images", "share of floor: "
                   "plain, Jackpot, bfloat16", "two at once, each of alone: plain, Jackpot", "ratio"):  # fmt: skip
        table.add_column(column)
    for each in rows:
        rate, share, two = each["images_per_second"], each["floor_share"], each["two_at_once"]
        table.add_row(
            f"{each['net']} ({each['batch']})", f"{rate['plain']:.4g}", f"{rate['float32']:.4g}",
            f"{each['ratio']['float32']:.2f}", f"{rate['bfloat16']:.4g}", f"{each['ratio']['bfloat16']:.2f}",
            f"{each['images_share']:.1%}", ", ".join(f"{share[kind]:.0%}" for kind in KINDS),
            f"{two['plain']:.0%}, {two['float32']:.0%}", f"{each['two_ratio']:.2f}",
        )  # fmt: skip
    Console(width=170).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--root", help="a folder of images; without it they are made up")
    parser.add_argument("--nets", default=",".join(NETS), help="which of them")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn, about")
    parser.add_argument("--json", type=Path, help="where to write all of it")
    parser.add_argument("--profile", action="store_true", help="where the time goes, before and after")
    asked = parser.parse_args()
    chosen = [name.strip() for name in asked.nets.split(",")]
    if unknown := [name for name in chosen if name not in NETS]:
        parser.error(f"--nets: unknown {unknown[0]!r}; known: {', '.join(NETS)}")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    torch.set_num_threads(1)
    device = torch.device(asked.device)
    rates = {str(dtype)[6:]: matmul_rate(1, dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    rows = [row(name, asked, rates) for name in chosen]
    show(rows, asked.device)
    print(f"matmul: {rates['float32'] / 1e9:.0f} GFLOP/s in float32, {rates['bfloat16'] / 1e9:.0f} in bfloat16")
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about(), "matmul": rates, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
