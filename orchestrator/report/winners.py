"""Which ticket wins at each sparsity: by mean test accuracy, with what may be said against the runner-up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.report import html
from orchestrator.report.cells import Cell, Network, Result, removed
from orchestrator.report.place import Place
from orchestrator.report.verdicts import METRIC, Comparison, comparisons, points

HEAD = ("", "winner", "its accuracy, %", "runner-up", "its accuracy, %", "difference, points", "p by Holm", "verdict")
LEFT = (1, 3, 7)
"""Columns of words."""
CAPTION = (
    "the ticket with the highest mean test accuracy: mean ± half of the 95 % t interval (seeds). The difference is "
    "paired over seeds; p by Holm's correction over all pairs of methods at the sparsity"
)
NOTE = (
    "A winner was chosen by these very numbers, so its mean flatters it a little; not told apart: chance alone may "
    "have put it before the runner-up."
)

ALONE = "one method alone: nothing to compare"


@dataclass(frozen=True)
class Winner:
    """The best ticket type of one network at one sparsity."""

    label: str
    cell: Cell
    """Its trials."""
    runner_up: Comparison | None
    """The winner against the next best; None where no other has a test accuracy."""


def winner(network: Network, sparsity: float) -> Winner | None:
    """The ticket type with the highest mean test accuracy at a sparsity above 0 (the dense network removes nothing and
    so has none); None where no trial has a test accuracy."""
    pairs = comparisons(network, sparsity)
    tested = [label for label in network.labels if network.at(label, sparsity).values(METRIC)]
    if sparsity <= 0 or not tested:
        return None
    label = pairs[0].better if pairs else tested[0]
    return Winner(label, network.at(label, sparsity), pairs[0] if pairs else None)


def winner_trial(network: Network, sparsity: float) -> Result | None:
    """The result of the winner's seed with the highest validation accuracy (test images choose no network that is
    taken away); of equal ones, and without validation, the lowest seed. None where there is no winner."""
    won = winner(network, sparsity)
    if won is None:
        return None
    validated, accuracies = won.cell.values("accuracy/val"), won.cell.values(METRIC)
    tested = [result for result in won.cell.done if result["seed"] in accuracies]
    return max(tested, key=lambda result: (validated.get(result["seed"], -1.0), -result["seed"]))


def table(network: Network, place: Place) -> list[list[str]]:
    """A row of texts a sparsity that has a winner, under HEAD, numbers linked to their trials."""
    rows = []
    for sparsity in network.sparsities:
        won = winner(network, sparsity)
        if won is None:
            continue
        row = [removed(sparsity), won.label, place.accuracy(won.cell)]
        if won.runner_up is None:
            rows.append([*row, "", "", "", "", ALONE])
            continue
        pair = won.runner_up
        p = "" if pair.adjusted is None else f"{pair.adjusted:.2g}"
        rival = place.accuracy(network.at(pair.other, sparsity))
        rows.append([*row, pair.other, rival, points(pair.difference), p, pair.verdict])
    return rows


def answer(network: Network) -> list[str]:
    """A sentence a sparsity: who wins, with what accuracy, and by how much, e.g. "95 % removed: lottery 98.61 ± 0.69 %
    (3 seeds); +0.56 ± 1.20 points over snip, not told apart"."""
    sentences = []
    for sparsity in (s for s in network.sparsities if s > 0):
        won = winner(network, sparsity)
        told = "no trial has a test accuracy: no winner" if won is None else said(won.label, won.cell, won.runner_up)
        sentences.append(f"{removed(sparsity)}: {told}")
    return sentences


def said(name: str, cell: Cell, runner_up: Comparison | None, alone: str = ALONE) -> str:
    """A winner with its accuracy and the difference to the runner-up, in words; `alone` where there is none."""
    found = cell.estimate(METRIC, 100)
    assert found is not None  # it won by it
    width = "" if found.half_width is None else f" ± {found.half_width:.2f}"
    counts = [f"{found.seeds} seed{'s' if found.seeds > 1 else ''}", *(f"{n} {how}" for how, n in cell.others.items())]
    own = f"{name} {found.mean:.2f}{width} % ({', '.join(counts)})"
    if runner_up is None:
        return f"{own}; {alone}"
    ahead = runner_up.difference.estimate
    if ahead is None:
        return f"{own}; next {runner_up.other}, {runner_up.verdict}"
    width = "" if ahead.half_width is None else f" ± {ahead.half_width:.2f}"
    return f"{own}; {ahead.mean:+.2f}{width} points over {runner_up.other}, {runner_up.verdict}"


def other_shares(network: Network) -> list[str]:
    """A phrase for each ticket type whose sparsities are shares of something else than weights."""
    targets = {label: r["options"].get("target") for (label, _), cell in network.cells.items() for r in cell.results}
    return [
        f"{label} removes a share of {target}, not of weights"
        for label, target in sorted(targets.items())
        if target not in (None, "sparsity")
    ]


def section(found: Sequence[Network], place: Place) -> Iterator[str]:
    """The winners of every network as pieces of the page; nothing where no ticket was tested."""
    tables = [(network, rows) for network in found if (rows := table(network, place))]
    if tables:
        yield place.section("The winner at each sparsity")
    for network, rows in tables:
        if len(found) > 1:
            yield place.part(network.model)
        yield html.listed(f"{sentence}." for sentence in answer(network))
        yield html.table(HEAD, rows, f"{network.model}: {CAPTION}", left=LEFT)
        others = "; ".join(other_shares(network))
        note = f"{NOTE} Here {others}." if others else NOTE
        yield f'<p class="note">{html.text(note)}</p>'
