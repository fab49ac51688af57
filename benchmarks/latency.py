"""What pruning gains in time: tickets of two networks in each runtime, at batch 1 and 64, beside the dense network.

    python -m benchmarks.latency [--repeat] [--only TEXT] [--tickets FOLDER] [--json FILE] [--threads N] [--quick]

One table: the speed-up over the dense network in eager torch with its 95 % interval, whether it counts, and beside the
time the floor: the runtime's FLOPs over the machine's measured matmul rate, and its bytes over the measured bandwidth.
`program` is the network as a program of compact's kind with nothing removed: what `compact` gains beyond it, it gains
by removal. All runtimes of a ticket run in turn with the dense network and its control. The tickets are those of the
real methods after a few steps on made-up images, and kept in --tickets: where the zeros stand decides the time, and
what the network has learnt does not. --repeat measures all of it again beside a process that loads a core, and says
whether the ratios agree within 5 % or are flagged.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from floor import work
from machine import about, bandwidth, matmul_rate
from options import add_json, keep, natural
from rich.console import Console
from rich.table import Table

from methods.bench import Tensors
from orchestrator.engine.compact import flattened, in_channels_last
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.latency import Timed
from orchestrator.engine.pages import huge_pages
from orchestrator.engine.plan import Plan, Planned, make_plan
from orchestrator.engine.results import FINAL, why
from orchestrator.engine.setting import Setting
from orchestrator.engine.speed import verdict
from orchestrator.engine.structures import Ready, Subject
from orchestrator.engine.ticket import FILE, read_ticket
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Watch
from orchestrator.spec.models import Spec

AGREE = 0.05
"""By how much a speed-up may differ when it is measured again."""
CPU = torch.device("cpu")
RUNTIMES = ("dense", "compact", "compiled", "onnxruntime")
PROGRAM = "program"
SHOWN = ("dense", PROGRAM, *RUNTIMES[1:])
# after so few steps the classifier's weights are still the smallest, and would all be removed
MASKS = [{"name": "random", "ratio": "smart"}, "snip", {"name": "one_shot", "prune_classifier": False}]
FILTERS = [{"name": name, "target": "macs"} for name in ("filter_prune", "layer_prune")]
FAKE = {"name": "fake", "shape": [3, 32, 32], "train": 160, "test": 10}
FULL = {
    "models": [{"name": "resnet32", "width": 2}, {"name": "vgg19"}], "data": FAKE, "batches": [1, 64], "seconds": 1.0,
    "sweeps": {"masks": (MASKS, [0.9, 0.95, 0.98]), "structures": (FILTERS, [0.5])},
}  # fmt: skip
QUICK = {
    "models": [{"name": "convnet", "width": 0.25}], "data": {**FAKE, "shape": [3, 8, 8]}, "batches": [2],
    "seconds": 0.02,
    "sweeps": {"masks": ([{"name": "random", "ratio": "uniform"}], [0.9]), "structures": (FILTERS[:1], [0.5])},
}  # fmt: skip

Row = dict[str, Any]


def main() -> None:
    """Make the tickets, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", action="store_true", help="again, beside a process that loads a core")
    add_json(parser, "latency")
    parser.add_argument("--threads", type=natural, default=1)
    parser.add_argument("--tickets", type=Path, default=Path("sweeps/benchmark-latency"), help="where tickets are kept")
    parser.add_argument("--only", default="", metavar="TEXT", help="tickets whose network and name hold this")
    parser.add_argument("--quick", action="store_true", help="one small network: does it work?")
    given = parser.parse_args()
    with_huge_pages()
    torch.set_num_threads(given.threads)
    began, chosen = time.monotonic(), QUICK if given.quick else FULL
    small = list(sweeps(chosen))
    names = [named(spec, planned) for spec, plan in small for planned in plan.planned]
    if not any(given.only in name for name in names):
        parser.error(f"--only: no ticket's name holds {given.only!r}; they are {', '.join(names)}")
    subjects = list(tickets(small, given.tickets, given.only))
    rates = {"flops_per_second": matmul_rate(given.threads), "bytes_per_second": bandwidth(given.threads)}
    rows = measured(subjects, rates)
    found = {"machine": about(), "threads": given.threads, "rates": rates, "rows": rows}
    said = f"{rates['flops_per_second'] / 1e9:.0f} GFLOP/s, {rates['bytes_per_second'] / 1e9:.1f} GB/s"
    show(f"speed-up over the dense network in eager torch, {given.threads} threads; floor at {said}", rows)
    if given.repeat:
        with loaded_core():
            found["repeated"] = compared(rows, measured(subjects, rates))
        show("the same beside a process that loads a core", found["repeated"])
        off = [row for row in found["repeated"] if row.get("off", 0) > AGREE]
        flagged = sum(row["noisy"] for row in off)
        print(f"{len(rows) - len(off)} of {len(rows)} ratios agree within 5 %, {flagged} others are flagged noisy")
    found["seconds"] = time.monotonic() - began
    keep(given.json, found)


def with_huge_pages() -> None:
    """Start this script anew with its memory in huge pages, as a sweep's workers have it."""
    if any(os.environ.get(name) != value for name, value in huge_pages().items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | huge_pages())


def sweeps(chosen: dict[str, Any]) -> Iterator[tuple[Spec, Plan]]:
    """The small sweeps that make the tickets, and their plans, in which no latency is measured."""
    for model in chosen["models"]:
        for kind, (methods, sparsities) in chosen["sweeps"].items():
            spec = Spec.model_validate(
                {"name": f"{model['name']}-{kind}-{chosen['data']['shape'][-1]}", "data": chosen["data"],
                 "model": model, "methods": methods, "sparsities": sparsities,
                 "recipe": {"epochs": 1, "batch": 32, "lr": 0.01},
                 "latency": {"batches": chosen["batches"], "seconds": chosen["seconds"], "runtimes": list(RUNTIMES)}}
            )  # fmt: skip
            yield spec, make_plan(without_latency(spec))


def without_latency(spec: Spec) -> Spec:
    """What the tickets are trained as."""
    return spec.model_copy(update={"latency": spec.latency.model_copy(update={"enabled": False})})


def label(planned: Planned) -> str:
    """What the table calls a ticket."""
    return f"{planned.trial.arm.label} {float(100 * planned.trial.sparsity):g} %"


def named(spec: Spec, planned: Planned) -> str:
    """What --only looks into."""
    return f"{spec.model[0].name} {label(planned)}"


def tickets(small: list[tuple[Spec, Plan]], where: Path, only: str) -> Iterator[tuple[str, str, Subject]]:
    """Network, ticket, and what is to be measured, of those whose names hold a text; trained here where they are not
    there yet."""
    for spec, plan in small:
        for planned in plan.planned:
            if only in named(spec, planned):
                weights = ticket(without_latency(spec), plan, planned, SweepFolder(where / spec.name))
                if weights is not None:
                    yield spec.model[0].name, label(planned), Subject(Setting(spec, spec.model[0]), weights, CPU)


def ticket(spec: Spec, plan: Plan, planned: Planned, folder: SweepFolder) -> Tensors | None:
    """The trained weights of a ticket; None, and a line that says why, where it cannot be made."""
    trial, key = planned.trial, planned.chain.key
    result = folder.result(trial.id, key)
    if result is None or result["status"] not in FINAL:
        print(f"training {trial.id} ...", file=sys.stderr, flush=True)
        watch = Watch(trial=trial.id, **plan.instructions(planned))
        result = run_trial(folder, Setting(spec, trial.model), trial, key, watch)
        if result["status"] != "done":
            print(f"left out: {trial.id} {result['status']}: {why(result)}")
            return None
    return read_ticket(folder.trial(trial.id) / FILE).weights


def measured(subjects: list[tuple[str, str, Subject]], rates: dict[str, float]) -> list[Row]:
    """A row a ticket, batch size and runtime; tickets of the same structures share one measurement."""
    known: dict[tuple[str, ...], list[Row]] = {}
    rows = []
    for model, of, subject in subjects:
        keys = tuple(subject.key(runtime) for runtime in RUNTIMES)
        if keys not in known:
            print(f"measuring {model}, {of} ...", file=sys.stderr, flush=True)
            known[keys] = [{**record, **floors(subject, record, rates)} for record in records(subject)]
        rows += [{"model": model, "ticket": of, **record} for record in known[keys]]
    return rows


def records(subject: Subject) -> list[Row]:
    """A record of each runtime and batch size; all runtimes of a batch size in turn."""
    names = [name for name in RUNTIMES if name != "compact" or subject.compact.changed]
    ready = [each for name in names for each in subject.prepare(name)]
    found = subject.measure([*ready, *(program(subject, each) for each in ready if each.record["runtime"] == "dense")])
    if not subject.compact.changed:
        found += subject.unchanged([record for record in found if record["runtime"] == "dense"])
    for record in found:
        record["verdict"] = record.get("error") or verdict(record | {"disturbed": []}).partition(":")[0]
    return sorted(found, key=lambda record: (record["batch"], SHOWN.index(record["runtime"])))


def program(subject: Subject, dense: Ready) -> Ready:
    """The network as a program of compact's kind with nothing removed, ready to be timed beside it."""
    batch = dense.record["batch"]
    net = flattened(subject.network(), subject.setting.data.shape)
    return Ready(
        dense.record | {"runtime": PROGRAM}, Timed(net if batch > 1 else in_channels_last(net), subject.images(batch))
    )


def floors(subject: Subject, record: Row, rates: dict[str, float]) -> Row:
    """The least milliseconds of a record's network, by its FLOPs and by its bytes."""
    net = subject.network() if record["runtime"] in ("dense", PROGRAM) else subject.compact.net
    needed = work(net, subject.images(record["batch"]))
    flops, moved = needed.seconds(rates["flops_per_second"], rates["bytes_per_second"])
    return {"flops": needed.flops, "bytes": needed.bytes, "flops_ms": 1e3 * flops, "bytes_ms": 1e3 * moved}


def compared(first: list[Row], second: list[Row]) -> list[Row]:
    """The second rows, with how far each ratio is off the first one's."""
    for before, now in zip(first, second, strict=True):
        if "speedup" in before and "speedup" in now:
            now["off"] = abs(now["speedup"] / before["speedup"] - 1)
    return second


def show(title: str, rows: list[Row]) -> None:
    """Print a table."""
    table = Table(title=title)
    left = ("network", "ticket", "runtime", "verdict", "why")
    again = any("off" in row for row in rows)
    head = ("network", "ticket", "batch", "runtime", "ms", "speed-up (95 %)", *(["off"] if again else []), "control",
            "floor, ms: FLOPs", "bytes", "verdict", "why")  # fmt: skip
    for name in head:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    for row in rows:
        start = (row["model"], row["ticket"], str(row["batch"]), row["runtime"])
        floor = (f"{row['flops_ms']:.3g}", f"{row['bytes_ms']:.3g}")
        off = [f"{100 * row['off']:.1f} %" if "off" in row else ""] if again else []
        if "error" in row:
            table.add_row(*start, "", "", *off, "", *floor, row["error"], "")
        else:
            ratio = f"{row['speedup']:.3f} ({shown(row['interval'])})"
            control = shown(row["control"]["interval"])
            table.add_row(*start, f"{row['ms']:.4g}", ratio, *off, control, *floor, row["verdict"], row["why"])
    Console(width=200).print(table)
    reasons = Counter(reason for row in rows for reason in row.get("disturbed", []))
    for reason, count in reasons.most_common():
        print(f"{count} of {len(rows)} rows: {reason}")


def shown(interval: list[float]) -> str:
    """An interval as the table prints it."""
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


@contextmanager
def loaded_core() -> Iterator[None]:
    """Another process computes meanwhile."""
    burner = multiprocessing.get_context("spawn").Process(target=burn, daemon=True)
    burner.start()
    try:
        yield
    finally:
        burner.kill()
        burner.join()


def burn() -> None:
    """Load a core until killed."""
    while True:
        sum(range(10_000))


if __name__ == "__main__":
    main()
