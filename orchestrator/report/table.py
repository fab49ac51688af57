"""The table in the terminal: methods x sparsities, a cell the mean over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from orchestrator.report.statistics import estimate

if TYPE_CHECKING:
    import pandas as pd


def accuracy_tables(results: pd.DataFrame) -> list[tuple[str, Table]]:
    """For each network a title and a table of test accuracy in percent: mean, half-width of the 95 % interval,
    seeds."""
    if "label" not in results:
        return []
    tables = []
    known = results[results["status"] != "missing"]
    for model, rows in known.groupby("model", sort=False):
        table = Table()
        sparsities = sorted(rows["sparsity"].unique())
        table.add_column("method", overflow="fold")
        for sparsity in sparsities:
            table.add_column("dense" if sparsity == 0 else f"{100 * sparsity:.4g} % removed", justify="right")
        labels = sorted(
            rows["label"].unique(), key=lambda label: (rows[rows["label"] == label]["sparsity"].max(), label)
        )
        for label in labels:
            cells = rows[rows["label"] == label]
            table.add_row(label, *(_cell(cells[cells["sparsity"] == sparsity]) for sparsity in sparsities))
        tables.append((f"{model}: test accuracy in %, mean ± 95 % interval (seeds)", table))
    return tables


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    values = [100 * value for value in rows[rows["status"] == "done"]["accuracy/test"]]
    text = ""
    if values:
        found = estimate(values)
        interval = f" ± {found.half_width:.2f}" if found.half_width is not None else ""
        text = f"{found.mean:.2f}{interval} ({found.seeds})"
    others = rows[rows["status"] != "done"]["status"].value_counts()
    return " ".join([text, *(f"{count} {status}" for status, count in sorted(others.items()))]).strip()
