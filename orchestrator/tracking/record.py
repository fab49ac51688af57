"""What a trial's result says to MLflow: plain data, no MLflow here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from orchestrator.engine.speed import bests

Result = dict[str, Any]

STATUSES = {
    "done": "FINISHED", "diverged": "FINISHED", "dropped": "FINISHED", "failed": "FAILED", "blocked": "FAILED",
}  # fmt: skip
"""MLflow's word for how a trial ended; a diverged one ran to its end and is a result, and so is one that the search
stopped early."""
PROPOSALS = (*STATUSES, "missing")
"""How a search's proposal may stand."""
COURSE = ("accuracy/val", "loss/train", "loss/val")
"""Of an epoch, what is shown while a trial runs, as `course/...`."""

SYSTEM = "system/"
"""How the metrics begin that MLflow shows on a page of their own."""

_VALUE_LENGTH = 5000  # MLflow takes 6000 in a param, 8000 in a tag
_NAME_LENGTH = 250


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    milliseconds: int
    step: int


def milliseconds(seconds: float) -> int:
    """Unix seconds as MLflow's clock counts them."""
    return round(seconds * 1000)


def key_of(name: str) -> str:
    """A name as MLflow takes it for a param, tag or metric."""
    return re.sub(r"[^\w./: -]", "_", name)[:_NAME_LENGTH]


def run_name(row: Mapping[str, Any], several_networks: bool, seed: bool = True) -> str:
    """How a trial is called in MLflow, e.g. "hybrid-smart s95 seed2"; with its network where the sweep has several.
    `row`: its result or its row of the plan. Without `seed`: what the trials of all seeds share."""
    parts = [
        *([row["model"]] if several_networks else []),
        row["label"],
        *([f"s{100 * row['sparsity']:.10g}"] if row["sparsity"] else []),
        *([f"seed{row['seed']}"] if seed else []),
    ]
    return " ".join(parts)[:_NAME_LENGTH]


def text_of(value: Any) -> str:
    """A value as MLflow takes it in a param or tag."""
    return str(value)[:_VALUE_LENGTH]


def _facts(result: Result) -> dict[str, Any]:
    """What the sweep varies."""
    # what is the same in every trial is left out: MLflow's comparison begins with the first params that differ
    more = {"arm": result["arm"], "check": result["check"]} if result["check"] else {}
    more |= {"search.number": result["search"]} if result.get("search") is not None else {}
    return {name: result[name] for name in ("model", "data", "method", "label", "sparsity", "seed")} | more


def params_of(result: Result) -> dict[str, str]:
    """The settings of a trial as MLflow takes them."""
    return texts(settings_of(result))


def settings_of(result: Result) -> dict[str, Any]:
    """The settings of a trial: recipe, model and data as in the result, and what the sweep varies."""
    varied = _facts(result)
    options = {f"ticket.{name}": value for name, value in result["options"].items()}
    return {**varied, **options, **result["params"], **varied}


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Names and values as MLflow takes them."""
    return {key_of(name): text_of(value) for name, value in values.items()}


def tags_of(result: Result) -> dict[str, str]:
    """What a reader filters runs by, and where the trial ran."""
    tags = _facts(result) | {name: result[name] for name in ("trial", "status", "key", "attempts")}
    tags |= {f"host.{name}": value for name, value in result["host"].items()}
    tags |= {f"version.{name}": value for name, value in result["versions"].items()}
    tags |= {f"latency.best.b{own['batch']}": own["runtime"] for own in bests(result.get("latency", []))}
    if result["blocked_by"]:
        tags["blocked_by"] = result["blocked_by"]
    if result["error"]:
        tags["error"] = f"{result['error']['type']}: {result['error']['message']}"
    return texts(tags)


def points_of(result: Result) -> list[Point]:
    """Every metric of a trial: each epoch's at its step and time, then the final ones at the last step. A
    final value replaces the last epoch's of the same name. An infinite value is written as NaN, because
    MLflow would turn it into the largest float."""
    points: dict[tuple[str, int], Point] = {}
    last = 0
    for epoch in result["history"]:
        last = epoch["epoch"]
        values = {name: value for name, value in epoch.items() if name not in ("epoch", "time")}
        add_points(points, values, milliseconds(epoch["time"]), last)
    add_points(points, result["metrics"], milliseconds(result["ended"]), last)
    return list(points.values())


def course_points(events: Iterable[Mapping[str, Any]]) -> list[Point]:
    """What a trial said of each epoch that it trained itself, stage after stage and attempt after attempt, from its
    events: what moves while it runs. The step counts these epochs, for most tickets are trained several times over."""
    points: dict[tuple[str, int], Point] = {}
    epochs = 0
    for event in events:
        if "epoch" in event:
            epochs += 1
            values = {f"course/{name}": event[name] for name in COURSE if name in event}
            values |= {name: value for name, value in event.items() if name.startswith(SYSTEM)}
            add_points(points, values, milliseconds(event["time"]), epochs)
    return list(points.values())


def search_points(summary: dict[str, Any], when: int) -> list[Point]:
    """What a search says of itself on the sweep's run: each objective's value of the best proposal, and how many
    proposals stand in each way. The step is the number of proposals, so that a longer search's values are the latest.

    summary: the sweep's search/summary.json. when: milliseconds."""
    proposals = summary["proposals"]
    found = {f"search/trials/{status}": sum(p["status"] == status for p in proposals) for status in PROPOSALS}
    best = next((p["values"] for p in proposals if p["number"] in summary["best"][:1]), None)
    for objective, value in zip(summary["objectives"], best or [], strict=False):
        found[f"search/best/{objective['metric']}"] = value
    points: dict[tuple[str, int], Point] = {}
    add_points(points, found, when, len(proposals))
    return list(points.values())


def add_points(points: dict[tuple[str, int], Point], values: Mapping[str, Any], when: int, step: int) -> None:
    """Add a point for each of the values that is a number."""
    for name, value in values.items():
        if isinstance(value, (int, float)):
            finite = float(value) if math.isfinite(value) else math.nan
            points[name, step] = Point(key_of(name), finite, when, step)
