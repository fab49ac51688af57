"""The mean over seeds of a method at a sparsity, as MLflow is told of it: plain data, no MLflow here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.engine.estimates import estimate
from orchestrator.tracking.record import Point, Result, add_points, milliseconds, settings_of, text_of, texts

SEEDS = "seeds"
"""Metric: over how many seeds the means are."""
FIRST = "accuracy/test"
INTERVAL = "ci95/"
"""How the metrics begin that hold the half-width of a mean's 95 % interval."""


class Cell(NamedTuple):
    """What the trials that are averaged share."""

    model: str
    label: str
    sparsity: float


def cell_of(row: Mapping[str, Any]) -> Cell | None:
    """The cell of a trial, given its result or its row of the plan; None for a search's proposal, of which there is
    one alone."""
    if row.get("search") is not None:
        return None
    return Cell(row["model"], row["label"], row["sparsity"])


def aggregate_points(results: Sequence[Result]) -> list[Point]:
    """The mean over seeds of every metric of a cell's finished trials under its own name, the half-width of its 95 % t
    interval under `ci95/...` where there is one, over how many seeds, and how many trials ended without a ticket. The
    step is the number of seeds, so that the values of a sweep that was extended are the latest."""
    done = [result for result in results if result["status"] == "done"]
    found: dict[str, list[float]] = {}
    for result in done:
        for name, value in result["metrics"].items():
            if isinstance(value, (int, float)):
                found.setdefault(name, []).append(value)
    values: dict[str, float] = {}
    # the accuracy first: it is what MLflow's comparison begins with
    for name in sorted(found, key=lambda name: (name != FIRST, name)):
        mean = estimate(found[name])
        values[name] = mean.mean
        if mean.half_width:  # none from one seed; zero where all seeds agree, as in what is counted
            values[f"{INTERVAL}{name}"] = mean.half_width
    values |= {SEEDS: len(done), "trials/without_ticket": len(results) - len(done)}
    points: dict[tuple[str, int], Point] = {}
    add_points(points, values, milliseconds(max(result["ended"] for result in results)), len(done))
    return list(points.values())


def aggregate_params(results: Sequence[Result]) -> dict[str, str]:
    """The settings that all trials of a cell share. `method` stays beside the label: MLflow's comparison begins with
    three params that differ, and the next would be an option that most methods lack."""
    first, *others = [settings_of(result) for result in results]
    shared = {n: value for n, value in first.items() if all(n in other and _same(other[n], value) for other in others)}
    return texts(shared)


def _same(one: Any, other: Any) -> bool:
    """Whether MLflow is told the same of both. Nearly always they are equal, and to write them takes far longer."""
    return (type(one) is type(other) and one == other) or text_of(one) == text_of(other)
