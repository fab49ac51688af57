"""Every trial of a sweep, a row each: where the links of all numbers lead."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.engine.results import why
from orchestrator.report import html
from orchestrator.report.cells import Result
from orchestrator.report.place import Place
from orchestrator.report.sweeps import Sweep

METRICS = (
    ("accuracy/test", 100, "accuracy/test, %", "{:.2f}"),
    ("accuracy/val", 100, "accuracy/val, %", "{:.2f}"),
    ("sparsity/global", 100, "sparsity/global, %", "{:.2f}"),
    ("macs/speedup", 1, "macs/speedup", "{:.2f}"),
    ("latency/ms/b1", 1, "latency/ms/b1", "{:.4g}"),
    ("cost/epochs", 1, "cost/epochs", "{:.4g}"),
    ("cost/train_seconds", 1, "cost/train_seconds", "{:.1f}"),
)
HEAD = ("trial", "network", "method", "sparsity", "seed", "status", *(name for _, _, name, _ in METRICS), "host", "why")
LEFT = (1, 2, 5, 13, 14)
CHOOSE = {1: "alike", 2: "alike", 3: "alike", 5: ""}


def all_trials(sweep: Sweep, place: Place) -> Iterator[str]:
    """The table of all trials, those that have not run at its end."""
    rows = [[place.files(result["trial"]), *_row(result)] for result in sweep.results]
    rows += [
        [trial, own["model"], own["label"], percent(own["sparsity"]), "" if own["seed"] is None else str(own["seed"]),
         "not run", *[""] * (len(METRICS) + 2)]
        for trial, own in sweep.planned.items()
    ]  # fmt: skip
    if not rows:
        return
    anchors = [place.anchor(trial) for trial in (*(result["trial"] for result in sweep.results), *sweep.planned)]
    yield place.section("All trials")
    yield html.table(HEAD, rows, "All trials; the name of one leads to its folder", LEFT, anchors, CHOOSE)


def _row(result: Result) -> list[str]:
    metrics = result["metrics"]
    numbers = [
        "" if metrics.get(metric) is None else shape.format(factor * metrics[metric])
        for metric, factor, _, shape in METRICS
    ]
    return [
        result["model"], result["label"], percent(result["sparsity"]), str(result["seed"]), result["status"], *numbers,
        result["host"]["hostname"], why(result),
    ]  # fmt: skip


def percent(sparsity: float) -> str:
    """A sparsity as a cell."""
    return f"{100 * sparsity:.4g} %"
