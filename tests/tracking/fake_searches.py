"""A search in a made-up sweep's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_sweeps import add

from orchestrator.engine.files import write_sealed


def proposal(number: int, status: str, values: list[float] | None = None) -> dict[str, Any]:
    """A proposal of a summary, as far as the tracking reads it."""
    return {"number": number, "status": status, "values": values}


PROPOSALS = [
    proposal(0, "done", [0.9, 500.0]),
    proposal(1, "done", [0.95, 400.0]),
    proposal(2, "dropped"),
    proposal(3, "failed"),
]


def write_summary(folder: Path, proposals: list[dict[str, Any]], best: list[int]) -> None:
    """Write search/summary.json."""
    objectives = [{"metric": "accuracy/val", "goal": "max"}, {"metric": "macs", "goal": "min"}]
    content = {"schema": 1, "proposals": proposals, "best": best, "objectives": objectives}
    write_sealed(folder / "search" / "summary.json", content)


def add_search(folder: Path) -> None:
    """Add a search of four proposals, and one of its trials, to a sweep's folder."""
    write_summary(folder, PROPOSALS, best=[1])
    (folder / "search" / "search.html").write_text("<p>page</p>")
    (folder / "search" / "study.db").write_bytes(b"study")
    for path in ("best.json", "pareto/1.json", ".best.json.0123.tmp"):
        (folder / "ratios" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "ratios" / path).write_text("{}")
    params = {"recipe.lr": 0.1, "search.power": 1.5}
    add(folder, "convnet_hybrid-search2_s95_seed0", "dropped", search=2, params=params, layers=[])
