"""The table of the sanity checks: what each arm has without and with a check, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.report.cells import Cell, Result, accuracy, removed
from orchestrator.report.equivalence import MOST_SEEDS, Verdict, judged
from orchestrator.spec.reading import read

HEAD = (
    "network",
    "arm",
    "sparsity",
    "check",
    "as it is",
    "checked",
    "difference, points",
    "p of equivalence",
    "verdict",
)
LEFT = (1, 3, 8)
"""Columns of words."""
MARGIN = 0.5


def margin_of(spec: str) -> float:
    """The margin that a sweep's YAML gives, in percentage points."""
    content = read(spec).value
    sanity = content.get("sanity") if isinstance(content, dict) else None
    return float((sanity or {}).get("margin", MARGIN))


def caption(margin: float) -> str:
    """What the table's words mean."""
    return (
        "test accuracy in %: mean ± half of the 95 % interval (seeds). A ticket fails a check where it is the same "
        f"within {margin:g} points (two one-sided paired t tests, 5 %): the method does not use what the check "
        "destroys. It passes where the ticket is worse once that is destroyed"
    )


@dataclass(frozen=True)
class Checked:
    """One arm, sparsity and check."""

    model: str
    arm: str
    sparsity: float
    check: str
    as_is: Cell
    checked: Cell
    verdict: Verdict


def checked(results: Iterable[Result], margin: float) -> list[Checked]:
    """Every check of a sweep, in the order of its results."""
    cells: dict[tuple[str, str, float], list[Result]] = {}
    checks: dict[tuple[str, str, float], tuple[str, str]] = {}
    for result in results:
        key = (result["model"], result["label"], result["sparsity"])
        cells.setdefault(key, []).append(result)
        if result.get("check"):
            checks[key] = (result["arm"], result["check"])
    rows = []
    for (model, label, sparsity), (arm, check) in checks.items():
        as_is = Cell(tuple(cells.get((model, arm, sparsity), ())))
        own = Cell(tuple(cells[model, label, sparsity]))
        verdict = judged(as_is.values("accuracy/test", 100), own.values("accuracy/test", 100), margin)
        rows.append(Checked(model, arm, sparsity, check, as_is, own, verdict))
    return rows


def table(rows: Sequence[Checked], plus_minus: str = "±") -> list[list[str]]:
    """The rows as texts, under HEAD."""
    return [
        [
            row.model, row.arm, removed(row.sparsity), row.check, accuracy(row.as_is, plus_minus),
            accuracy(row.checked, plus_minus), _difference(row.verdict, plus_minus), _p(row.verdict),
            said(row.verdict),
        ]
        for row in rows
    ]  # fmt: skip


def said(verdict: Verdict) -> str:
    """A verdict in words."""
    if verdict.difference is None:
        return "undecided: no seed in common"
    if verdict.difference.seeds == 1:
        return "undecided: one seed"
    if verdict.word != "undecided":
        return verdict.word if verdict.p is not None else f"{verdict.word} (the same difference for every seed)"
    more = f"{verdict.further:,}" if verdict.further is not None else f"more than {MOST_SEEDS:,}"
    return f"undecided: {more} further seeds would decide"


def _difference(verdict: Verdict, plus_minus: str) -> str:
    found = verdict.difference
    if found is None:
        return ""
    width = "" if found.half_width is None else f" {plus_minus} {found.half_width:.2f}"
    return f"{found.mean:+.2f}{width} ({found.seeds})"


def _p(verdict: Verdict) -> str:
    return "" if verdict.p is None else f"{verdict.p:.2g}"
