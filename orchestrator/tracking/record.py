"""What a trial's result says to MLflow: plain data, no MLflow here."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

Result = dict[str, Any]

STATUSES = {
    "done": "FINISHED", "diverged": "FINISHED", "dropped": "FINISHED", "failed": "FAILED", "blocked": "FAILED",
}  # fmt: skip
"""MLflow's word for how a trial ended; a diverged one ran to its end and is a result, and so is one that the search
stopped early."""
PROPOSALS = (*STATUSES, "missing")
"""How a search's proposal may stand."""

_VALUE_LENGTH = 5000  # MLflow takes 6000 in a param, 8000 in a tag


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
    return re.sub(r"[^\w./: -]", "_", name)[:250]


def _text(value: Any) -> str:
    return str(value)[:_VALUE_LENGTH]


def _facts(result: Result) -> dict[str, Any]:
    """What the sweep varies."""
    names = ("model", "data", "method", "arm", "label", "sparsity", "seed")
    facts = {name: result[name] for name in names} | {"check": result["check"] or "none"}
    proposal = result.get("search")
    return facts if proposal is None else facts | {"search.number": proposal}


def params_of(result: Result) -> dict[str, str]:
    """The settings of a trial: recipe, model and data as in the result, and what the sweep varies."""
    varied = _facts(result)
    options = {f"method.{name}": value for name, value in result["options"].items()}
    return {key_of(name): _text(value) for name, value in {**result["params"], **options, **varied}.items()}


def tags_of(result: Result) -> dict[str, str]:
    """What a reader filters runs by, and where the trial ran."""
    tags = _facts(result) | {name: result[name] for name in ("status", "key", "attempts")}
    tags |= {f"host.{name}": value for name, value in result["host"].items()}
    tags |= {f"version.{name}": value for name, value in result["versions"].items()}
    if result["blocked_by"]:
        tags["blocked_by"] = result["blocked_by"]
    if result["error"]:
        tags["error"] = f"{result['error']['type']}: {result['error']['message']}"
    return {key_of(name): _text(value) for name, value in tags.items()}


def points_of(result: Result) -> list[Point]:
    """Every metric of a trial: each epoch's at its step and time, then the final ones at the last step. A
    final value replaces the last epoch's of the same name. An infinite value is written as NaN, because
    MLflow would turn it into the largest float."""
    points: dict[tuple[str, int], Point] = {}
    last = 0
    for epoch in result["history"]:
        last = epoch["epoch"]
        values = {name: value for name, value in epoch.items() if name not in ("epoch", "time")}
        _add(points, values, milliseconds(epoch["time"]), last)
    _add(points, result["metrics"], milliseconds(result["ended"]), last)
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
    _add(points, found, when, len(proposals))
    return list(points.values())


def _add(points: dict[tuple[str, int], Point], values: dict[str, Any], when: int, step: int) -> None:
    for name, value in values.items():
        if isinstance(value, (int, float)):
            finite = float(value) if math.isfinite(value) else math.nan
            points[name, step] = Point(key_of(name), finite, when, step)
