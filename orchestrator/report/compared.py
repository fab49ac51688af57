"""The accuracy tables of a page and the verdicts on them, every number linked to its trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.report import html
from orchestrator.report.cells import Network, networks, removed
from orchestrator.report.place import Place
from orchestrator.report.sweeps import Sweep
from orchestrator.report.verdicts import HEAD, LEFT, Comparison, against_dense, comparisons, row, sentence
from orchestrator.report.verdicts import NOTE as OF_COLUMNS

CAPTION = "test accuracy in %: mean ± half of the 95 % t interval (seeds)"
NOTE = (
    '<p class="note">The interval covers the noise of training (initialisation, batch order), not the choice of data. '
    "Test was evaluated once, after the last epoch. A number leads to its trials.</p>"
)


def accuracy_tables(found: Sequence[Network], place: Place) -> Iterator[str]:
    """A table a network: methods x sparsities."""
    if not found:
        return
    yield place.section("Test accuracy")
    for network in found:
        head = ["method", *map(removed, network.sparsities)]
        yield html.table(head, _rows(network, place), f"{network.model}: {CAPTION}")
    yield NOTE


def _rows(network: Network, place: Place, sparsities: Sequence[float] | None = None) -> list[list[str]]:
    columns = network.sparsities if sparsities is None else sparsities
    return [[label, *(place.accuracy(network.at(label, s)) for s in columns)] for label in network.labels]


def side_by_side(sweeps: Sequence[Sweep], places: Sequence[Place]) -> Iterator[str]:
    """A table a network that several sweeps have, a row a sweep and method; nothing where their data differ."""
    if len({result["data"] for sweep in sweeps for result in sweep.results}) != 1:
        return
    found: dict[str, list[tuple[Sweep, Place, Network]]] = {}
    for sweep, place in zip(sweeps, places, strict=True):
        for network in networks(sweep.results):
            found.setdefault(network.model, []).append((sweep, place, network))
    tables = []
    for model, own in found.items():
        if len(own) < 2:
            continue
        sparsities = sorted({sparsity for _, _, network in own for sparsity in network.sparsities})
        rows = [[row[0], sweep.name, *row[1:]] for sweep, at, network in own for row in _rows(network, at, sparsities)]
        labels = list(dict.fromkeys(row[0] for row in rows))
        rows.sort(key=lambda row: labels.index(row[0]))
        head = ["method", "sweep", *map(removed, sparsities)]
        tables.append(html.table(head, rows, f"{model}, the sweeps side by side: {CAPTION}", left=(1,)))
    if tables:
        yield html.heading("The sweeps side by side")
        yield from tables


def verdicts(found: Sequence[Network], place: Place) -> Iterator[str]:
    """Which method is best at each sparsity, and what can be told from chance."""
    pieces = [(network, list(_verdicts(network, place))) for network in found]
    if any(own for _, own in pieces):
        yield place.section("Which is best")
    for network, own in pieces:
        if own and len(found) > 1:
            yield place.part(network.model)
        yield from own


def _verdicts(network: Network, place: Place) -> Iterator[str]:
    by_sparsity = {s: comparisons(network, s) for s in network.sparsities if s > 0}
    if not by_sparsity:
        return
    yield html.listed(f"{removed(sparsity)}: {sentence(pairs)}." for sparsity, pairs in by_sparsity.items())
    if pairs := [pair for own in by_sparsity.values() for pair in own]:
        yield html.table(
            HEAD, [_linked(network, pair, place) for pair in pairs],
            f"{network.model}: paired over seeds; Holm's correction over all pairs of methods at a sparsity", left=LEFT,
        )  # fmt: skip
        yield f'<p class="note">{html.text(OF_COLUMNS)}</p>'
    if dense := against_dense(network):
        yield html.table(
            HEAD, [_linked(network, pair, place) for pair in dense],
            f"{network.model}, what a ticket loses: the dense network minus it; Holm's correction over all rows",
            left=LEFT,
        )  # fmt: skip


def _linked(network: Network, pair: Comparison, place: Place) -> list[str]:
    """A comparison as texts, the names of the two linked to their trials. The dense network has no sparsity."""

    def named(label: str) -> str:
        cell = network.at(label, pair.sparsity)
        return place.alike(label, cell.results or network.at(label, 0.0).results)

    return [named(pair.better), named(pair.other), *row(pair)[2:]]
