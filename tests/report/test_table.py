"""The table of a sweep, and its intervals by hand."""

import io
import math

import pandas as pd
import pytest
from rich.console import Console

from orchestrator.report.statistics import estimate
from orchestrator.report.table import accuracy_tables


def _shown(rows: list[tuple], width: int = 200) -> str:
    columns = ["model", "label", "sparsity", "seed", "status", "accuracy/test"]
    out = Console(file=io.StringIO(), width=width)
    for title, table in accuracy_tables(pd.DataFrame(rows, columns=columns)):
        out.print(title, table)
    return out.file.getvalue()


def test_an_interval_by_hand() -> None:
    # mean 2, standard deviation 1, of 3: t(0.975, 2 degrees of freedom) = 4.3027
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.seeds) == (2.0, 3)
    assert found.half_width == pytest.approx(4.302652729911275 / math.sqrt(3), rel=1e-9)


def test_one_seed_has_no_interval() -> None:
    found = estimate([0.5])
    assert (found.mean, found.half_width, found.seeds) == (0.5, None, 1)


def test_a_cell_is_a_mean_over_the_seeds_that_are_done() -> None:
    rows = [("net", "dense", 0.0, seed, "done", value) for seed, value in enumerate((0.98, 0.99))]
    rows += [("net", "random", 0.9, 0, "done", 0.9), ("net", "random", 0.9, 1, "diverged", None)]
    rows += [("net", "snip", 0.9, 0, "failed", None), ("net", "snip", 0.95, 0, "missing", None)]
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in _shown(rows).splitlines() if "│" in line]
    assert lines == [
        ["dense", "98.50 ± 6.35 (2)", ""],  # t(0.975, 1) = 12.706, of a standard error of 0.5
        ["random", "", "90.00 (1) 1 diverged"],
        ["snip", "", "1 failed"],
    ]


def test_each_network_has_its_table_and_none_without_results() -> None:
    rows = [(net, "dense", 0.0, 0, "done", 0.9) for net in ("first", "second")]
    shown = _shown(rows)
    assert -1 < shown.find("first: ") < shown.find("second: ")
    assert _shown([("net", "dense", 0.0, 0, "missing", None)]) == ""
    assert accuracy_tables(pd.DataFrame([{"trial": "t", "status": "missing"}])) == []


def test_a_narrow_terminal_breaks_a_name_and_drops_nothing_of_it() -> None:
    label = "random-smart-classifier_keep0.5"
    shown = _shown([("net", label, sparsity / 10, 0, "done", 0.9) for sparsity in range(1, 8)], width=80)
    first = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert "".join(first) == label
