"""Trials beside each other: what differs between them, and which is best in what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from orchestrator.engine.results import why
from orchestrator.engine.speed import BESIDE, bests
from orchestrator.tracking.record import params_of

Result = Mapping[str, Any]
FIRST = ("model", "data", "label", "sparsity", "seed")
"""What says most plainly what a trial is, in this order."""
BEST = "*"
"""Stands before the best value of a row: a mark that needs no colour."""
ABSENT = "-"


class Metric(NamedTuple):
    """A row of the table: a metric, the best of its values, what it is multiplied by and counted in."""

    name: str
    best: Callable[..., float] = max
    factor: float = 1.0
    unit: str = ""


_METRICS = (
    Metric("accuracy/test", factor=100, unit="%"),
    Metric("accuracy/val", factor=100, unit="%"),
    Metric("sparsity/global", factor=100, unit="%"),
    Metric("compression_ratio", unit="x"),
    Metric("macs/speedup", unit="x"),
)
_COSTS = (Metric("cost/epochs", min), Metric("cost/train_seconds", min, unit="s"))


def metrics_of(results: Sequence[Result]) -> list[Metric]:
    """The metrics that some of the trials have, in the order in which they are read: latency at every batch size."""
    found = {name for result in results for name in result["metrics"]}
    batches = sorted(int(name.rpartition("/b")[2]) for name in found if name.startswith("latency/ms/b"))
    latencies = [
        metric
        for batch in batches
        for own in ("", *(f"{name}/" for name in (*BESIDE, "best")))
        for metric in (
            Metric(f"latency/{own}ms/b{batch}", min, unit="ms"),
            Metric(f"latency/{own}speedup/b{batch}", unit="x"),
        )
    ]
    return [metric for metric in (*_METRICS, *latencies, *_COSTS) if metric.name in found]


def params(results: Sequence[Result], alike: bool = False) -> dict[str, list[str | None]]:
    """Setting -> its value in each trial, None where it has none; those alone that differ, unless `alike`. Under the
    names that MLflow shows, and with the machine that a trial ran on, which its seconds depend on."""
    own = [params_of(dict(result)) | _host(result) for result in results]
    names = [*FIRST, *dict.fromkeys(name for each in own for name in each if name not in FIRST)]
    values = {name: [each.get(name) for each in own] for name in names}
    return {name: found for name, found in values.items() if alike or len({*found}) > 1}


def _host(result: Result) -> dict[str, str]:
    return {f"host.{name}": str(value) for name, value in result["host"].items()}


def best(metric: Metric, results: Sequence[Result]) -> list[int]:
    """Which of the trials have the best value; none where fewer than two have one, or all agree."""
    values = {place: value for place, result in enumerate(results) if (value := _value(metric, result)) is not None}
    if len({*values.values()}) < 2:
        return []
    top = metric.best(values.values())
    return [place for place, value in values.items() if value == top]


def _value(metric: Metric, result: Result) -> float | None:
    value = result["metrics"].get(metric.name)
    return value if value is not None and value == value else None  # not NaN, of which none is best


def table(results: Sequence[Result], alike: bool = False) -> Table:
    """Settings, outcome and metrics: a row each, a column a trial, headed by its number."""
    made = Table()
    made.add_column("", overflow="fold")
    for number in range(1, len(results) + 1):
        made.add_column(str(number), justify="right", overflow="fold")
    for name, values in params(results, alike).items():
        made.add_row(escape(name), *(ABSENT if value is None else escape(value) for value in values))
    made.add_section()
    if any(result["status"] != "done" for result in results):
        made.add_row("status", *(result["status"] for result in results))
    for batch, runtimes in best_runtimes(results).items():
        name = f"best runtime, batch {batch}"
        made.add_row(name, *(ABSENT if each is None else f"{each['runtime']}: {each['why']}" for each in runtimes))
    for metric in metrics_of(results):
        first = best(metric, results)
        name = f"{metric.name} ({metric.unit})" if metric.unit else metric.name
        made.add_row(name, *(_shown(metric, result, place in first) for place, result in enumerate(results)))
    return made


def best_runtimes(results: Sequence[Result]) -> dict[int, list[Mapping[str, Any] | None]]:
    """Batch size -> the record of each trial's best runtime, None where it has no choice."""
    own = [{record["batch"]: record for record in bests(result.get("latency", []))} for result in results]
    return {batch: [each.get(batch) for each in own] for batch in sorted({batch for each in own for batch in each})}


def _shown(metric: Metric, result: Result, first: bool) -> str:
    value = _value(metric, result)
    if value is None:
        return ABSENT
    shown = f"{metric.factor * value:.2f}" if metric.factor == 100 else f"{value:.4g}"
    return f"[bold]{BEST} {shown}[/bold]" if first else shown


def as_data(sweeps: Sequence[str], results: Sequence[Result]) -> dict[str, Any]:
    """The same for programs."""
    trials = [
        {"sweep": sweep, "trial": result["trial"], "status": result["status"], "why": why(result),
         "params": params_of(dict(result)), "metrics": result["metrics"],
         "best_runtime": {
             str(each["batch"]): {key: each[key] for key in ("runtime", "speedup", "why")}
             for each in bests(result.get("latency", []))
         }}
        for sweep, result in zip(sweeps, results, strict=True)
    ]  # fmt: skip
    return {
        "trials": trials,
        "differ": list(params(results)),
        "best": {metric.name: best(metric, results) for metric in metrics_of(results)},
    }
