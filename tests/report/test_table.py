"""The table of a sweep."""

import io

from reports import result, sweep
from rich.console import Console

from orchestrator.report.table import accuracy_tables


def _shown(rows: list[dict], width: int = 200) -> str:
    out = Console(file=io.StringIO(), width=width)
    for title, table in accuracy_tables(rows):
        out.print(title, table)
    return out.file.getvalue()


def test_a_cell_is_a_mean_over_the_seeds_that_are_done() -> None:
    rows = sweep({("dense", 0.0): [0.98, 0.99], ("random", 0.9): [0.9, None]})
    rows.append(result("snip", 0.9, 0, None, status="failed"))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in _shown(rows).splitlines() if "│" in line]
    assert lines == [
        ["dense", "98.50 ± 6.35 (2)", ""],  # t(0.975, 1) = 12.706, of a standard error of 0.5
        ["random", "", "90.00 (1) 1 diverged"],
        ["snip", "", "1 failed"],
    ]


def test_each_network_has_its_table_and_none_without_results() -> None:
    rows = [result("dense", 0.0, 0, 0.9, model=net) for net in ("first", "second")]
    shown = _shown(rows)
    assert -1 < shown.find("first: ") < shown.find("second: ")
    assert accuracy_tables([]) == []


def test_a_narrow_terminal_breaks_a_name_and_drops_nothing_of_it() -> None:
    label = "random-smart-classifier_keep0.5"
    shown = _shown([result(label, sparsity / 10, 0, 0.9) for sparsity in range(1, 8)], width=80)
    first = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert "".join(first) == label
