"""A sweep's results by network, method and sparsity: the numbers that every table and plot shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.report.statistics import Estimate, estimate

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """The trials of one network, method and sparsity: one a seed."""

    results: tuple[Result, ...]

    @property
    def done(self) -> list[Result]:
        """The results of trials that came to their end with a ticket."""
        return [result for result in self.results if result["status"] == "done"]

    @property
    def others(self) -> dict[str, int]:
        """How many trials ended otherwise, by status."""
        counts = Counter(result["status"] for result in self.results if result["status"] != "done")
        return dict(sorted(counts.items()))

    def values(self, metric: str, factor: float = 1.0) -> dict[int, float]:
        """Seed -> value, of the trials that have one."""
        return {r["seed"]: factor * r["metrics"][metric] for r in self.done if r["metrics"].get(metric) is not None}

    def estimate(self, metric: str, factor: float = 1.0) -> Estimate | None:
        """Mean over the seeds and its interval; None where no trial has the metric."""
        values = list(self.values(metric, factor).values())
        return estimate(values) if values else None


@dataclass(frozen=True)
class Network:
    """One network's trials in a table: methods x sparsities."""

    model: str
    cells: dict[tuple[str, float], Cell] = field(repr=False)
    """(method's label, sparsity) -> trials; 0 is the sparsity of a method that has one trial a seed."""

    @property
    def sparsities(self) -> list[float]:
        """All sparsities, ascending."""
        return sorted({sparsity for _, sparsity in self.cells})

    @property
    def labels(self) -> list[str]:
        """All methods: those without a sparsity first, then by name."""
        highest: dict[str, float] = {}
        for label, sparsity in self.cells:
            highest[label] = max(sparsity, highest.get(label, 0.0))
        return sorted(highest, key=lambda label: (highest[label] > 0, label))

    def at(self, label: str, sparsity: float) -> Cell:
        """The trials of a method at a sparsity; an empty cell where there are none."""
        return self.cells.get((label, sparsity), Cell(()))


def is_proposal(result: Result) -> bool:
    """Whether a search of ratios proposed this trial. Its validation score steers the search; it has no test score."""
    return result.get("search") is not None


def networks(results: Iterable[Result]) -> list[Network]:
    """The networks of a sweep in the order of their results. Without the trials that a comparison of methods has no
    place for: a search's proposals, for they are not tested, and those that are to be worse, which are sanity checks
    and networks pruned in the middle of training for their plasticity."""
    found: dict[str, dict[tuple[str, float], list[Result]]] = {}
    for result in results:
        if result.get("check") or result["method"] == "plasticity" or is_proposal(result):
            continue
        found.setdefault(result["model"], {}).setdefault((result["label"], result["sparsity"]), []).append(result)
    return [Network(model, {key: Cell(tuple(own)) for key, own in cells.items()}) for model, cells in found.items()]


def removed(sparsity: float) -> str:
    """A sparsity as a column's head: "90 % removed"."""
    return "dense" if sparsity == 0 else f"{100 * sparsity:.4g} % removed"


def accuracy(cell: Cell, plus_minus: str = "±") -> str:
    """Test accuracy in percent: mean, half-width of the 95 % interval, seeds; and how many trials ended otherwise."""
    return " ".join(
        [*said(cell.estimate("accuracy/test", 100), plus_minus), *(f"{count} {s}" for s, count in cell.others.items())]
    )


def said(found: Estimate | None, plus_minus: str = "±", decimals: int = 2) -> Sequence[str]:
    """An estimate as text, in a list; an empty one for None."""
    if found is None:
        return []
    interval = "" if found.half_width is None else f" {plus_minus} {found.half_width:.{decimals}f}"
    return [f"{found.mean:.{decimals}f}{interval} ({found.seeds})"]
