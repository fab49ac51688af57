"""The table in the terminal: methods x sparsities, a cell the mean over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.table import Table

from orchestrator.engine.folder import SweepFolder
from orchestrator.report import sanity, search, search_verdicts
from orchestrator.report.cells import Result, accuracy, networks, removed

NAME = 24
"""Characters of a name that a narrow terminal does not fold."""


def accuracy_tables(results: Iterable[Result]) -> list[tuple[str, Table]]:
    """For each network a title and a table of test accuracy in percent: mean, half-width of the 95 % interval,
    seeds."""
    tables = []
    for network in networks(results):
        table = Table()
        table.add_column("method", overflow="fold")
        for sparsity in network.sparsities:
            table.add_column(removed(sparsity), justify="right")
        for label in network.labels:
            table.add_row(label, *(accuracy(network.at(label, sparsity)) for sparsity in network.sparsities))
        tables.append((f"{network.model}: test accuracy in %, mean ± 95 % interval (seeds)", table))
    return tables


def sanity_table(results: Iterable[Result], margin: float) -> list[tuple[str, Table]]:
    """The sanity checks as a titled table; nothing where there are none."""
    rows = sanity.table(sanity.checked(results, margin))
    table = _table(sanity.HEAD, rows, sanity.LEFT)
    return [(f"sanity checks: equivalent within {margin:g} points fails", table)] if rows else []


def search_tables(folder: SweepFolder) -> list[tuple[str, Table]]:
    """The finalists of a sweep's search and the formulas as a titled table; nothing where there are none. Raises
    FolderError where no sweep lies in the folder."""
    searched = search.read(folder)
    rows = search_verdicts.rows(searched) if searched else []
    if not searched or not rows:
        return []
    head, left, name = search_verdicts.head(searched), search_verdicts.LEFT, searched.network.model
    at = search_verdicts.SPARSITY
    if len(sparsities := {row[at] for row in rows}) == 1:  # said once: a terminal is narrow
        head, *rows = ([*row[:at], *row[at + 1 :]] for row in (head, *rows))
        left, name = [column - (column > at) for column in left], f"{name}, {sparsities.pop()}"
    return [(f"{name}: searched ratios against the formulas, on fresh seeds", _table(head, rows, left))]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> Table:
    """A table whose first column and columns `left` hold words; the first, of names, is folded last."""
    table = Table()
    longest = max((len(row[0]) for row in rows), default=0)
    for i, name in enumerate(head):
        justify: Literal["left", "right"] = "left" if i in (0, *left) else "right"
        table.add_column(name, justify=justify, overflow="fold", min_width=None if i else min(longest, NAME))
    for row in rows:
        table.add_row(*row)
    return table
