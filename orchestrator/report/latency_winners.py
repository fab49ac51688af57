"""Which ticket wins at each latency: the most accurate of those that are fast enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.report import html
from orchestrator.report.cells import Cell, Network, removed
from orchestrator.report.place import Place
from orchestrator.report.verdicts import METRIC, Comparison, points, ranked
from orchestrator.report.winners import said

SHARES = (1.0, 0.75, 0.5, 0.25)
"""Budgets, as shares of the dense network's time: round numbers, so that no ticket's own latency sets one."""
HEAD = ("budget", "winner", "ms", "its accuracy, %", "next", "difference, points", "p by Holm", "verdict")
LEFT = (1, 4, 7)
"""Columns of words."""
CAPTION = (
    "of all tickets whose mean measured latency is within the budget, whatever their sparsity, the one with the "
    "highest mean test accuracy; Holm's correction over all pairs of these"
)

ALONE = "no other is fast enough"


@dataclass(frozen=True)
class Budget:
    """What wins within a share of the dense network's time."""

    share: float
    milliseconds: float
    name: str
    """Of the winner: its method and sparsity."""
    cell: Cell
    """Its trials."""
    runner_up: Comparison | None
    """None where no other ticket is fast enough."""


def batches(network: Network) -> list[int]:
    """The batch sizes whose latency was measured beside the dense network's, ascending."""
    names = {name for _, cell in _tickets(network) for result in cell.done for name in result["metrics"]}
    prefix = "latency/dense_ms/b"
    return sorted(int(name.removeprefix(prefix)) for name in names if name.startswith(prefix))


def dense_ms(network: Network, batch: int) -> float:
    """Milliseconds of the dense network: of its own trials, or else the longest that was measured beside a ticket."""
    of_dense = [cell.estimate(f"latency/ms/b{batch}") for (_, s), cell in network.cells.items() if s == 0]
    if (own := next((found.mean for found in of_dense if found), None)) is not None:
        return own
    return max(ms for _, cell in _tickets(network) for ms in cell.values(f"latency/dense_ms/b{batch}").values())


def all_as_dense(network: Network, batch: int) -> bool:
    """Whether every ticket has the dense structure, and so its latency: masks alone were tried."""
    speedups = [cell.values(f"latency/speedup/b{batch}") for _, cell in _tickets(network)]
    return all(value == 1 for found in speedups for value in found.values())


def budgets(network: Network, batch: int) -> list[Budget]:
    """The winner of every budget that at least one ticket meets, the largest budget first."""
    dense = dense_ms(network, batch)
    found = []
    for share in SHARES:
        # a masked network has the dense one's latency to the last digit but for the rounding of the mean
        within = {
            name: cell
            for name, cell in _tickets(network)
            if cell.values(METRIC)
            and (taken := cell.estimate(f"latency/ms/b{batch}"))
            and taken.mean <= share * dense * (1 + 1e-9)
        }
        if within:
            pairs = ranked({name: cell.values(METRIC, 100) for name, cell in within.items()}, 0.0)
            name = pairs[0].better if pairs else next(iter(within))
            found.append(Budget(share, share * dense, name, within[name], pairs[0] if pairs else None))
    return found


def answer(network: Network) -> list[str]:
    """A sentence a batch size and budget; one alone for a batch size at which all tickets are as fast as dense."""
    return [text for batch in batches(network) for text in _told(network, batch, budgets(network, batch))]


def section(found: Sequence[Network], place: Place) -> Iterator[str]:
    """The winners at each latency as pieces of the page; nothing where none was measured."""
    pieces = [(network, won) for network in found if (won := {b: budgets(network, b) for b in batches(network)})]
    if pieces:
        yield place.section("The winner at each latency")
    for network, won in pieces:
        if len(found) > 1:
            yield place.part(network.model)
        yield html.listed(f"{text}." for batch, own in won.items() for text in _told(network, batch, own))
        for batch, own in won.items():
            if not all_as_dense(network, batch):
                rows = [_row(network, batch, each, place) for each in own]
                yield html.table(HEAD, rows, f"{network.model}, batch {batch}: {CAPTION}", left=LEFT)


def _told(network: Network, batch: int, won: Sequence[Budget]) -> list[str]:
    if all_as_dense(network, batch):
        return [
            f"batch {batch}: every ticket has the dense network's structure and so its latency, "
            f"{dense_ms(network, batch):.3g} ms: masks alone make nothing faster, and no budget tells tickets apart"
        ]
    return [f"batch {batch}, {_asked(each)}: {said(each.name, each.cell, each.runner_up, ALONE)}" for each in won]


def _row(network: Network, batch: int, won: Budget, place: Place) -> list[str]:
    """A budget's winner as texts, under HEAD."""
    taken, pair = won.cell.estimate(f"latency/ms/b{batch}"), won.runner_up
    assert taken is not None  # it is within the budget
    row = [_asked(won), won.name, f"{taken.mean:.3g}", place.accuracy(won.cell)]
    if pair is None:
        return [*row, "", "", "", ALONE]
    p = "" if pair.adjusted is None else f"{pair.adjusted:.2g}"
    rival = dict(_tickets(network))[pair.other]
    return [*row, html.joined(": ", [pair.other, place.accuracy(rival)]), points(pair.difference), p, pair.verdict]


def _tickets(network: Network) -> list[tuple[str, Cell]]:
    """Every ticket by its method and sparsity; the dense network is none."""
    return [(f"{label}, {removed(s)}", network.at(label, s)) for label, s in network.cells if s > 0]


def _asked(budget: Budget) -> str:
    return f"at most {budget.milliseconds:.3g} ms ({100 * budget.share:g} % of dense)"
