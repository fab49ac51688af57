"""How fast a ticket trains: Jackpot's trainer beside a plain loop, on the same network, images and batch, one thread.

    python -m benchmarks.train [--device cpu|cuda] [--root IMAGES] [--nets resnet20,vgg19] [--turns N] [--seconds S]
        [--kinds "plain;float32;..."] [--at-once 2] [--techniques] [--profile] [--json FILE]

The plain loop: contiguous NCHW, a DataLoader of 2 workers with torchvision's transforms, and after each backward pass
the gradient set to zero wherever the weight is zero, as the code of Su et al. (2020) does. Each loop has a process of
its own, the trainer's with its memory in huge pages, and they take turns; what is shown are medians over turns. The
floor: FLOPs of forward and backward passes over the measured matmul rate. --at-once: so many trials that train
at a time. --techniques: the full trainer (compiled, bfloat16) beside itself without one of its techniques. Ticket: 160
epochs of 50,000 images. Neither Ray nor MLflow is loaded. --root: a folder with train/CLASS/*.jpg and test/CLASS/*.jpg;
without it images are made up. The digits are the real ones. Compiling begins with an empty cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from loops import Loop, run_at_once
from machine import about, matmul_rate
from options import add_json, add_root, keep, natural, positive, refuse_unreadable
from rich.console import Console
from rich.table import Table
from trainers import FULL, KINDS, NETS, TECHNIQUES

from orchestrator.engine.train import PASSES

TICKET = 160 * 50_000
"""Images of a ticket's training."""
AT_ONCE = {"cpu": [2], "cuda": [2, 4, 8]}
BESIDE = ("plain", "float32", FULL)
"""What is also run several at a time."""


def in_turns(loops: Mapping[str, Loop], turns: int, seconds: float) -> dict[str, float]:
    """Seconds a step of each loop, medians over turns of about so many seconds."""
    steps = {}
    for name, loop in loops.items():
        loop.run(3)
        steps[name] = max(1, round(seconds / loop.run(2)))
    took: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(turns):
        for name in loops if turn % 2 else reversed(loops):
            took[name].append(loops[name].run(steps[name]))
    return {name: statistics.median(own) for name, own in took.items()}


def alone(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Each kind by itself."""
    loops = {kind: Loop(name, asked.root, asked.device, kind) for kind in asked.kinds}
    seconds = in_turns(loops, asked.turns, asked.seconds)
    steps = max(10, round(asked.seconds / seconds["float32"]))
    images = statistics.median(loops["float32"].told("images", steps) for _ in range(asked.turns))
    found = {
        "seconds": seconds,
        "images": images,
        "compile_seconds": loops[FULL].told("compile") if FULL in loops else 0.0,
        **loops["plain"].told("flops"),
    }
    if asked.profile:
        for kind in beside(asked):
            print(f"\n{name}, {kind}:\n{loops[kind].told('profile')}")
    for loop in loops.values():
        loop.end()
    return found


def at_once(name: str, asked: argparse.Namespace, kind: str, count: int, step: float) -> dict[str, float]:
    """Images a second of so many trials at a time over those of one; and what compiling took, from the cache.
    `step`: seconds of one alone."""
    loops = [Loop(name, asked.root, asked.device, kind) for _ in range(count)]
    for loop in loops:
        loop.run(3)
    steps = max(2, round(2 * asked.seconds / step))
    rates = [sum(step / seconds for seconds in run_at_once(loops, steps)) for _ in range(asked.turns)]
    compiling = loops[-1].told("compile") if kind == FULL else 0.0
    for loop in loops:
        loop.end()
    return {"times": statistics.median(rates), "compile_seconds": compiling}


def row(name: str, asked: argparse.Namespace, rates: dict[str, float]) -> dict[str, Any]:
    """All that is measured of a network."""
    own = alone(name, asked)
    seconds, batch = own["seconds"], own["batch"]
    flops = 2 * PASSES * own["macs"] * batch
    packed = {
        str(count): {kind: at_once(name, asked, kind, count, seconds[kind]) for kind in beside(asked)}
        for count in asked.at_once
    }
    return {
        "net": name,
        "batch": batch,
        "images_per_second": {kind: batch / seconds[kind] for kind in seconds},
        "ratio": {kind: seconds["plain"] / seconds[kind] for kind in seconds if kind != "plain"},
        "images_share": own["images"] / seconds["float32"],
        "floor_share": {kind: flops / rates[precision(kind)] / seconds[kind] for kind in seconds},
        "compile_seconds": own["compile_seconds"],
        "at_once": packed,
        "ticket_minutes": {kind: TICKET * seconds[kind] / batch / 60 for kind in seconds},
    }


def beside(asked: argparse.Namespace) -> list[str]:
    """The kinds that are also run several at a time, and profiled."""
    return [kind for kind in BESIDE if kind in asked.kinds]


def precision(kind: str) -> str:
    """What a kind multiplies in."""
    return "bfloat16" if kind.startswith("bfloat16") else "float32"


def techniques(name: str, asked: argparse.Namespace) -> dict[str, float]:
    """How much longer a step of the full trainer takes without each of its techniques."""
    names = [each for each in TECHNIQUES if asked.device == "cuda" or each != "images on the GPU"]
    loops = {each: Loop(name, asked.root, asked.device, FULL, each) for each in ["", *names]}
    seconds = in_turns(loops, asked.turns, asked.seconds)
    for loop in loops.values():
        loop.end()
    return {each: seconds[each] / seconds[""] for each in names}


def show(rows: list[dict[str, Any]], device: str) -> None:
    """Print the tables."""
    table = Table(title=f"images a second of training, {device}; ratios to the plain loop of the same run")
    for column in ("net (batch)", *rows[0]["images_per_second"], "making images, of a step", "compiling, s"):
        table.add_column(column)
    for each in rows:
        cells = [f"{each['images_per_second']['plain']:.4g} ({each['floor_share']['plain']:.0%} of the floor)"]
        for kind in each["ratio"]:
            rate, ratio, share = (each[what][kind] for what in ("images_per_second", "ratio", "floor_share"))
            cells.append(f"{rate:.4g}: {ratio:.2f} ({share:.0%})")
        images, compiling = f"{each['images_share']:.1%}", f"{each['compile_seconds']:.0f}"
        table.add_row(f"{each['net']} ({each['batch']})", *cells, images, compiling)
    Console(width=170).print(table)
    several = Table(title="minutes a ticket alone, and tickets an hour of several at a time over those of one")
    kinds = [kind for kind in BESIDE if kind in rows[0]["ticket_minutes"]]
    for column in ("net", "trials", *kinds, "compiling from the cache, s"):
        several.add_column(column)
    for each in rows:
        minutes = [f"{each['ticket_minutes'][kind]:.3g} min" for kind in kinds]
        several.add_row(each["net"], "1", *minutes, f"{each['compile_seconds']:.0f} (empty)")
        for count, packed in each["at_once"].items():
            times = [f"{packed[kind]['times']:.2f}" for kind in kinds]
            several.add_row("", count, *times, f"{packed.get(FULL, {}).get('compile_seconds', 0.0):.1f}")
    Console(width=170).print(several)


def show_techniques(rows: list[dict[str, Any]]) -> None:
    """Print what each technique gains."""
    table = Table(title="a step of the full trainer (bfloat16, compiled) without one technique, over one with all")
    table.add_column("without")
    for each in rows:
        table.add_column(each["net"])
    for name in rows[0]["techniques"]:
        table.add_row(name, *(f"{each['techniques'][name]:.2f}" for each in rows))
    Console(width=170).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    add_root(parser)
    parser.add_argument("--nets", default=",".join(NETS), help="which of them")
    parser.add_argument("--turns", type=natural, default=5)
    parser.add_argument("--seconds", type=positive, default=3.0, help="of a turn, about")
    parser.add_argument("--kinds", default=";".join(KINDS), help=f"which of {'; '.join(KINDS)}")
    parser.add_argument("--at-once", type=natural, nargs="*", help="trials at a time; on a GPU 2 4 8, else 2")
    add_json(parser, "train")
    parser.add_argument("--profile", action="store_true", help="where the time goes, before and after")
    parser.add_argument("--techniques", action="store_true", help="the gain of each technique by itself")
    asked = parser.parse_args()
    chosen = [name.strip() for name in asked.nets.split(",")]
    if unknown := [name for name in chosen if name not in NETS]:
        parser.error(f"--nets: unknown {unknown[0]!r}; known: {', '.join(NETS)}")
    asked.kinds = [kind.strip() for kind in asked.kinds.split(";")]
    if asked.kinds[:2] != ["plain", "float32"] or set(asked.kinds) - set(KINDS):
        parser.error(f"--kinds: plain and float32 first, then any of {'; '.join(list(KINDS)[2:])}")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    refuse_unreadable(parser, asked.root)
    asked.at_once = AT_ONCE[asked.device] if asked.at_once is None else asked.at_once
    torch.set_num_threads(1)
    device = torch.device(asked.device)
    rates = {str(dtype)[6:]: matmul_rate(1, dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # of the loops' processes
        rows = [row(name, asked, rates) for name in chosen]
        if asked.techniques:
            rows = [each | {"techniques": techniques(each["net"], asked)} for each in rows]
    show(rows, asked.device)
    if asked.techniques:
        show_techniques(rows)
    print(f"matmul: {rates['float32'] / 1e9:.0f} GFLOP/s in float32, {rates['bfloat16'] / 1e9:.0f} in bfloat16")
    keep(asked.json, {"machine": about(), "matmul": rates, "rows": rows})


if __name__ == "__main__":
    main()
