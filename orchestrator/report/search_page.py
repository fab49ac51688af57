"""The search in report.html, and as a page of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.engine.files import write_text
from orchestrator.report import html, search_figures, search_verdicts, verdicts
from orchestrator.report.cells import removed
from orchestrator.report.figures import Figure
from orchestrator.report.place import Place
from orchestrator.report.search import FOLDER, Searched, shown, title

FILE = "search.html"
BIASED = (
    "Validation scores steered the search, and the best of many is partly the luckiest: they are biased upwards and "
    "are not the result. The result is the finalists' test accuracy, trained in full with fresh seeds beside the "
    "formulas at the same sparsity."
)
LONG = 12
"""Proposals that a page still shows unfolded."""
Draw = Callable[[Searched], Figure | None]
FIGURES: tuple[tuple[Draw, str, str], ...] = (
    (search_figures.history, "The course of the search", "the first objective of each proposal, and the best so far"),
    (search_figures.objectives, "Both objectives", "the proposals by both objectives, the Pareto front marked"),
    (search_figures.profile, "The best ratio against the formulas", "keep ratio of every layer, on a logarithmic axis"),
    (search_figures.importances, "What mattered", "importance of each coordinate for each objective"),
    (
        search_figures.parallel,
        "Keep ratios of all proposals",
        "parallel coordinates: an axis a layer, a line a proposal",
    ),
)
HIGH, MIDDLING = 0.7, 0.4


def write(searched: Searched) -> Path:
    """Write search/search.html in the sweep's folder, whole or not at all; its path."""
    path = searched.folder.path / FOLDER / FILE
    name = f"Jackpot: search of {searched.folder.name}"
    write_text(path, html.page(name, section(searched, Place(page="../report.html"))))
    return path


def section(searched: Searched, place: Place) -> Iterator[str]:
    """What was searched, what may be concluded, and how the search went."""
    yield place.section(f"{searched.network.model}: does a searched ratio beat the formulas?")
    yield html.listed(f"{sentence}." for sentence in search_verdicts.sentences(searched))
    yield f'<p class="note">{html.text(BIASED)}</p>'
    head = search_verdicts.head(searched)
    if rows := [_linked(searched, row, place) for row in search_verdicts.rows(searched)]:
        yield html.table(head, rows, search_verdicts.CAPTION, left=search_verdicts.LEFT)
    if searched.pairs:
        pairs = [[*verdicts.row(pair)[:-1], search_verdicts.told(pair)] for pair in searched.pairs]
        columns = ("searched", "minus the formula", "removed", "difference, points", "p", "p by Holm", "verdict")
        table = html.table(columns, pairs, "Every finalist minus every formula, paired over seeds", left=(1, 6))
        yield html.behind("Every finalist against every formula", table)
    yield place.section("What was searched")
    yield html.facts(facts(searched.summary), "the search and its settings")
    for draw, name, label in FIGURES:
        if figure := draw(searched):
            yield place.section(name)
            yield html.plot(figure, label)
    if not any(searched.summary["importances"]):
        yield '<p class="note">Too few trials to tell which coordinates mattered.</p>'
    yield from _rungs(searched.summary["fidelity"], place)
    yield from _proposals(searched, place)


def _linked(searched: Searched, row: list[str], place: Place) -> list[str]:
    """A row of the verdicts, its method linked to the trials that the row is about."""
    own = [
        result
        for (label, sparsity), cell in searched.network.cells.items()
        if (label, removed(sparsity)) == (row[0], row[search_verdicts.SPARSITY])
        for result in cell.results
    ]
    return [place.alike(row[0], own), *row[1:]]


def facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was searched, and how, in words."""
    budget = [f"{100 * sparsity:.4g} %" for sparsity in summary["sparsity"]]
    goals = {"max": "as high as possible", "min": "as low as possible"}
    counts = Counter(proposal["status"] for proposal in summary["proposals"])
    states = ", ".join(f"{count} {_state(status)}" for status, count in sorted(counts.items()))
    said = [
        ("method", summary["method"]),
        ("budget", f"{' to '.join(budget)} removed in every trial: of weights exactly, of filters so many as reach it"),
        ("objectives", ", ".join(f"{o['metric']} {goals[o['goal']]}" for o in summary["objectives"])),
        ("space", _with_options(summary["space"])),
        ("coordinates", ", ".join(f"{name} {_bounds(bounds)}" for name, bounds in summary["coordinates"].items())),
        ("sampler", _with_options(summary["sampler"])),
        ("seed", str(summary["seed"])),
        ("trials", f"{summary['trials']}, at most {summary['concurrency']} at a time; {states or 'none yet'}"),
    ]
    if volume := summary["hypervolume"]:
        reference = ", ".join(f"{value:.6g}" for value in volume["reference"])
        said.append(("hypervolume", f"{volume['value']:.6g}, from the reference point ({reference})"))
    return said


def _state(status: str) -> str:
    return "stopped early" if status == "dropped" else status


def _with_options(named: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} {value}" for name, value in named.items() if name != "name")
    return f"{named['name']} ({options})" if options else str(named["name"])


def _bounds(bounds: Any) -> str:
    numbers = isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(end, int | float) for end in bounds)
    return f"{bounds[0]:g} to {bounds[1]:g}" if numbers else str(bounds)


def _rungs(fidelity: Mapping[str, Any] | None, place: Place) -> Iterator[str]:
    if not fidelity or not fidelity["rungs"]:
        return
    rungs, matrix = fidelity["rungs"], fidelity["rank_correlation"]
    names = [f"{rung['epochs']:g} epochs" for rung in rungs]
    rows = [
        [name, str(rung["reached"]), str(rung["stopped"]), f"{rung['epochs_spent']:.4g}", *map(_rho, correlations)]
        for name, rung, correlations in zip(names, rungs, matrix, strict=True)
    ]
    yield place.section("Cheap rungs before dear ones")
    head = ["rung", "reached", "stopped", "epochs spent", *(f"rank as at {name}" for name in names)]
    yield html.table(head, rows, "Spearman's rank correlation of the accuracies of the trials that reached both rungs")
    yield html.listed(trusted(name, matrix[i][-1], names[-1]) for i, name in enumerate(names[:-1]))
    yield (
        '<p class="note">With rungs, which trials are stopped depends on which finish first: such a search is not '
        "repeatable. Only trials that were not stopped reach both rungs, so a correlation is rather too low than too "
        "high.</p>"
    )


def _rho(correlation: float | None) -> str:
    return "" if correlation is None else f"{correlation:.2f}"


def trusted(rung: str, correlation: float | None, dearest: str) -> str:
    """Whether a cheap rung's ranking can be trusted here, by its rank correlation with the dearest one."""
    if correlation is None:
        return f"The rung at {rung}: too few trials reached both it and {dearest} to tell whether it can be trusted."
    if correlation >= HIGH:
        word = "high: it can be trusted here"
    elif correlation >= MIDDLING:
        word = "middling: stop few trials there"
    else:
        word = "low: it cannot be trusted here"
    return f"The rung at {rung} ranks trials as {dearest} do with a correlation of {correlation:.2f}, {word}."


def _proposals(searched: Searched, place: Place) -> Iterator[str]:
    metrics = searched.metrics
    coordinates = list(searched.summary["coordinates"])
    rows = [
        [
            place.trial(p["trial"], str(p["number"])), p["source"], _state(p["status"]), f"{100 * p['sparsity']:.4g} %",
            *map(shown, metrics, p["values"] or []), *([""] * len(metrics) if not p["values"] else []),
            *(_coordinate((p["params"] or {}).get(name)) for name in coordinates),
        ]
        for p in searched.proposals
    ]  # fmt: skip
    if rows:
        head = ["proposal", "proposed by", "status", "removed", *map(title, metrics), *coordinates]
        table = html.table(head, rows, "Validation scores: they steered the search and are no result", left=(1, 2))
        yield place.section("The proposals")
        yield table if len(rows) <= LONG else html.behind(f"All {len(rows)} proposals", table)


def _coordinate(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "" if value is None else str(value)
