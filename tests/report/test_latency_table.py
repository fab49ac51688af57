"""Measured latencies in the report: every runtime's, and the best of each method and sparsity."""

from __future__ import annotations

import re
from typing import Any

from reports import record, result

from orchestrator.report.cells import networks
from orchestrator.report.latency import BEST_HEAD, HEAD, latency_table
from orchestrator.report.place import Place

LEFT = "1,310 of 1,856 channels removed, 18 % of the multiply-accumulates left"


def compact(speedup: float, **changes: Any) -> dict[str, Any]:
    own = {"runtime": "compact", "structure": "t" * 64, "speedup": speedup, "why": LEFT}
    return record(**(own | {"interval": [speedup - 0.01, speedup + 0.01], "ms": 2 / speedup} | changes))


def tables(rows: list[dict[str, Any]]) -> list[list[list[str]]]:
    """The cells of each table."""
    page = "".join(latency_table(rows, networks(rows), Place()))
    found = []
    for table in re.findall(r"<tbody>(.*?)</tbody>", page):
        lines = re.findall(r"<tr>(.*?)</tr>", table)
        found.append([[re.sub("<[^>]*>", "", cell) for cell in re.split("</t[hd]>", line)[:-1]] for line in lines])
    return found


def test_the_best_runtime_of_each_method_and_sparsity() -> None:
    rows = [
        result("snip", 0.98, 0, 0.9, latency=[record(), compact(1.6)]),
        result("snip", 0.98, 1, 0.9, latency=[record(), compact(1.4)]),
        result("snip", 0.98, 2, 0.9, latency=[record(), compact(1.005)]),
        result("snip", 0.9, 0, 0.9, latency=[record(), compact(0.7)]),
    ]
    best, _ = tables(rows)
    assert [dict(zip(BEST_HEAD, row, strict=True)) for row in best] == [
        {"network": "net", "method": "snip", "removed": "90 % removed", "batch": "1", "best runtime": "dense",
         "speed-up": "1.000", "why": "the dense structure"},
        {"network": "net", "method": "snip", "removed": "98 % removed", "batch": "1",
         "best runtime": "compact (2 of 3 trials)", "speed-up": "1.500", "why": LEFT},
    ]  # fmt: skip


def test_a_row_each_structure_and_runtime() -> None:
    failed = {"batch": 1, "runtime": "compiled", "structure": "t" * 64, "device": "a processor", "threads": 1,
              "dtype": "float32", "memory_format": "channels_last", "error": "no C++ compiler"}  # fmt: skip
    disturbed = compact(1.6, disturbed=["2 other cores worked 70 % of the time"])
    rows = [result("snip", 0.98, seed, 0.9, latency=[record(), disturbed, failed]) for seed in (0, 1)]
    _, all_of_them = tables(rows)
    found = [dict(zip(HEAD, row, strict=True)) for row in all_of_them]
    assert [(row["runtime"], row["trials"]) for row in found] == [("dense", "2"), ("compact", "2"), ("compiled", "2")]
    assert [row["verdict"] for row in found] == [
        "as dense", "faster (meanwhile 2 other cores worked 70 % of the time)", "",
    ]  # fmt: skip
    assert [row["why"] for row in found] == ["the dense structure", LEFT, "no C++ compiler"]
    assert found[1]["speed-up (95 %)"] == "1.600 (1.590 to 1.610)"


def test_one_runtime_leaves_no_choice() -> None:
    assert len(tables([result("snip", 0.98, 0, 0.9)])) == 1
