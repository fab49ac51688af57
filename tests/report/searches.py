"""Searches as a sweep leaves them, made up for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports import result

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.report.search import Searched, read

KEPT = {"conv": 100, "fc": 400}
"""Weights of the made-up network's layers."""


def proposal(number: int, values: list[float] | None, source: str = "tpe", **changes: Any) -> dict[str, Any]:
    """A proposal; without values it diverged."""
    return {
        "number": number, "trial": f"net_hybrid-search{number}_s95_seed0", "source": source, "sparsity": 0.95,
        "params": {"power": float(number)}, "status": "done" if values else "diverged", "values": values, "rungs": [],
        **changes,
    }  # fmt: skip


def summary(proposals: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A search of one objective whose last proposal is the best."""
    return {
        "schema": 1, "model": "net", "method": "hybrid", "sparsity": [0.95],
        "space": {"name": "polynomial", "degree": 2}, "coordinates": {"power": [0, 4]}, "sampler": {"name": "tpe"},
        "seed": 0, "concurrency": 2, "trials": len(proposals),
        "objectives": [{"metric": "accuracy/val", "goal": "max"}], "proposals": proposals,
        "best": [proposals[-1]["number"]] if proposals else [], "pareto": [], "hypervolume": None, "importances": [{}],
        "finalists": [], "formulas": {"uniform": "hybrid-uniform", "erk": "hybrid-erk"}, "fidelity": None, **changes,
    }  # fmt: skip


def kept(conv: int, fc: int) -> list[dict[str, Any]]:
    """The layers of a ticket that keeps so many weights in each."""
    counts = {"conv": conv, "fc": fc}
    return [
        {"name": name, "weights": weights, "kept": counts[name], "keep_ratio": counts[name] / weights}
        for name, weights in KEPT.items()
    ]


def folder_of(
    path: Path, content: dict[str, Any], tested: dict[str, list[float | None]], epochs: dict[str, int] | None = None
) -> SweepFolder:
    """A sweep's folder with a search; tested: label -> test accuracy of seeds 100, 101, ..., validation's is a
    point more; epochs: label -> what its trials cost, where it is not 10."""
    trials = [
        result(
            f"hybrid-search{p['number']}", p["sparsity"], 0, 0.5, trial=p["trial"], status=p["status"],
            search=p["number"], metrics={"accuracy/val": p["values"][0]} if p["values"] else {},
            layers=[] if p["status"] == "dropped" else kept(10 + p["number"], 15 - p["number"]),
        )
        for p in content["proposals"]
        if p["status"] != "missing"
    ]  # fmt: skip
    for label, values in tested.items():
        own = [
            result(label, 0.95, 100 + i, accuracy, search=None, layers=kept(20, 5)) for i, accuracy in enumerate(values)
        ]
        for each, accuracy in zip(own, values, strict=True):
            each["metrics"] |= {} if accuracy is None else {"accuracy/val": accuracy + 0.01}
            each["metrics"] |= {"cost/epochs": epochs[label]} if epochs and label in epochs else {}
        trials += own
    for each in trials:
        write_sealed(path / "trials" / each["trial"] / "result.json", each)
    planned = [{"trial": each["trial"], "key": "k"} for each in trials]
    write_sealed(path / "plan.json", {"planned": planned})
    write_sealed(path / "search" / "summary.json", content)
    return SweepFolder(path)


def searched(
    path: Path, content: dict[str, Any], tested: dict[str, list[float | None]], epochs: dict[str, int] | None = None
) -> Searched:
    """The search as the report reads it."""
    found = read(folder_of(path, content, tested, epochs))
    assert found is not None
    return found


PROPOSALS = [
    proposal(0, [0.90], "uniform", params={"power": 0.0}),
    proposal(1, [0.93], "erk", params=None),
    proposal(2, [0.91]),
    proposal(3, [0.96]),
    proposal(4, None),
    proposal(5, [0.95]),
]
FINALIST = [{"number": 3, "label": "hybrid-searched1"}]
"""Of PROPOSALS."""
