"""The table in the terminal: methods x sparsities, a cell the mean over seeds."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from orchestrator.report import sanity
from orchestrator.report.cells import Result, accuracy, networks, removed


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
    table = Table()
    for i, name in enumerate(sanity.HEAD):
        table.add_column(name, justify="left" if i in (0, *sanity.LEFT) else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return [(f"sanity checks: equivalent within {margin:g} points fails", table)] if rows else []
