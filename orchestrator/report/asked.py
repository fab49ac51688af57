"""The head of the report: what was asked for, and what of it there is not yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from orchestrator.engine.results import BAD
from orchestrator.report import html
from orchestrator.report.cells import is_proposal, removed
from orchestrator.report.place import Place
from orchestrator.report.sweeps import Sweep
from orchestrator.report.trials import percent

Arm = tuple[str, str, float]
"""Network, method's label, sparsity."""


def asked(sweep: Sweep, place: Place) -> Iterator[str]:
    """What was asked for, and how far it has come."""
    yield place.section("What was asked")
    counts = Counter(result["status"] for result in sweep.results)
    states = [f"{count} {status}" for status, count in sorted(counts.items())]
    states += [f"{len(sweep.missing)} not run"] if sweep.missing else []
    yield f"<p>{len(sweep.results) + len(sweep.missing)} trials: {html.text(', '.join(states) or 'none')}.</p>"
    yield from _missing(sweep, place)
    if sweep.results:
        # not the time of writing: a page of the same results is the same file, and MLflow keeps one of it
        last = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(result["ended"] for result in sweep.results)))
        yield f'<p class="note">The last of them ended on {last}.</p>'
        yield html.facts(
            [(name, ", ".join(map(str, sorted(found)))) for name, found in _facts(sweep).items() if found],
            "what the trials have in common, or all values where they differ",
        )
    yield html.folded("The spec: `jackpot run` of it gives these results again", sweep.spec)


def _facts(sweep: Sweep) -> dict[str, set[Any]]:
    results = sweep.results
    return {
        "networks": {result["model"] for result in results},
        "methods": {result["label"] for result in results if not is_proposal(result)},
        "sparsities": {percent(result["sparsity"]) for result in results if result["sparsity"]},
        "data": {result["data"] for result in results},
        "seeds": {result["seed"] for result in results},
        "hosts": {f"{result['host']['hostname']} ({result['host']['device']})" for result in results},
        "threads of a trial": {result["host"]["threads"] for result in results},
        **{name: {result["versions"].get(name, "?") for result in results} for name in results[0]["versions"]},
    }


def _missing(sweep: Sweep, place: Place) -> Iterator[str]:
    """Which seeds of which method and sparsity have no result that stands, and whether anyone is at it."""
    owed: dict[Arm, dict[str, list[tuple[Any, str]]]] = {}
    for result in sweep.results:
        if result["status"] in BAD:
            _note(owed, result, result["status"], result["trial"])
    for trial, planned in sweep.planned.items():
        _note(owed, planned, "not run", trial)
    if sweep.running:
        yield (
            f"<p><strong>The sweep is still running</strong> ({html.text(sweep.running)}): this page shows what there "
            "was when it was written.</p>"
        )
    if not owed:
        return
    if not sweep.running:
        yield (
            "<p><strong>The sweep is not finished, and nothing is running.</strong> <code>jackpot run</code> of the "
            "same spec goes on with what is missing.</p>"
        )
    there = Counter((r["model"], r["label"], r["sparsity"]) for r in sweep.results if r["status"] not in BAD)
    rows = []
    for arm, states in sorted(owed.items()):
        count = sum(map(len, states.values()))
        seeds = [_seeds(status, trials, place) for status, trials in sorted(states.items())]
        rows.append(
            [arm[1], arm[0], removed(arm[2]), f"{count} of {count + there[arm]}", html.joined("; ", seeds)]
        )  # fmt: skip
    yield html.table(
        ("method", "network", "removed", "missing", "seeds"), rows, "What is missing: trials without a result",
        left=(1, 4),
    )  # fmt: skip


def _note(owed: dict[Arm, dict[str, list[tuple[Any, str]]]], row: Any, status: str, trial: str) -> None:
    arm = (row["model"], row["label"], row["sparsity"])
    owed.setdefault(arm, {}).setdefault(status, []).append((row["seed"], trial))


def _seeds(status: str, trials: list[tuple[Any, str]], place: Place) -> html.Markup:
    links = [place.trial(trial, "?" if seed is None else str(seed)) for seed, trial in sorted(trials, key=str)]
    return html.joined("", [f"{status}: ", html.joined(", ", links)])
