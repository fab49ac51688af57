"""The checklist of an honest evaluation, for one sweep: what it meets, what it does not, what to add to the spec.

It follows Blalock et al., What is the State of Neural Network Pruning?, MLSys 2020 (arXiv 2003.03033), and adds what a
fair comparison needs. Every item is computed from the results; "by construction" marks what no result can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.report import checklist_conduct, checklist_design, html
from orchestrator.report.cells import Result
from orchestrator.report.checklist_facts import Facts, Item
from orchestrator.report.place import Place
from orchestrator.report.verdicts import METRIC

HEAD = ("demand", "met", "what was found", "what to add to the spec")
LEFT = (0, 1, 2, 3)
"""Columns of words: all, so that long demands fold too."""
CAPTION = "after Blalock et al., What is the State of Neural Network Pruning?, MLSys 2020, and what is fair beside it"


def checklist(results: Sequence[Result], missing: Sequence[str], spec: str) -> list[Item]:
    """Every item, for a sweep's results, its planned trials without one, and its YAML. Empty where no method was
    tested, so that there is nothing to judge."""
    facts = Facts.of(results, missing, spec)
    if not any(cell.values(METRIC) for _, cell in facts.cells):
        return []
    return [*checklist_design.items(facts), *checklist_conduct.items(facts)]


def table(items: Sequence[Item]) -> list[list[str]]:
    """The items as texts, under HEAD."""
    return [[item.name, item.state, item.found, item.remedy] for item in items]


def summary(items: Sequence[Item]) -> str:
    """How many are met, in a sentence."""
    counts = {state: sum(item.state == state for item in items) for state in ("pass", "fail", "unknown")}
    unknown = f", {counts['unknown']} cannot be told" if counts["unknown"] else ""
    applicable = sum(counts.values())
    return f"{counts['pass']} of {applicable} demands that apply are met, {counts['fail']} not{unknown}"


def section(items: Sequence[Item], place: Place) -> Iterator[str]:
    """The checklist as pieces of the page; nothing where there is none."""
    if items:
        yield place.section("Checklist of an honest evaluation")
        yield f"<p>{html.text(summary(items))}.</p>"
        yield html.table(HEAD, table(items), CAPTION, left=LEFT)
