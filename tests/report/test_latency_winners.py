"""The winner at each latency, from latencies made up."""

import re

import pytest
from reports import result

from orchestrator.report.cells import Network, networks
from orchestrator.report.latency_winners import HEAD, all_as_dense, answer, batches, budgets, dense_ms, section
from orchestrator.report.place import Place


def timed(label: str, sparsity: float, seed: int, accuracy: float, ms: float, dense: float = 4.0) -> dict:
    metrics = {
        "accuracy/test": accuracy, "latency/ms/b1": ms, "latency/dense_ms/b1": dense, "latency/speedup/b1": dense / ms,
    }  # fmt: skip
    return result(label, sparsity, seed, accuracy, metrics=metrics)


DENSE = [timed("dense", 0.0, seed, 0.99, 4.0) for seed in (0, 1)]
MASKED = [timed("snip", 0.9, seed, 0.95 + seed / 100, 4.0) for seed in (0, 1)]
NARROW = [timed("filters", 0.5, seed, 0.90, 2.8 + 0.4 * seed) for seed in (0, 1)]  # 3 ms in the mean: 75 %
NARROWER = [timed("filters", 0.8, seed, 0.80 + seed / 100, 1.5) for seed in (0, 1)]


def network_of(*rows: list[dict]) -> Network:
    (network,) = networks(row for own in rows for row in own)
    return network


def test_each_budget_has_the_most_accurate_of_those_within() -> None:
    found = budgets(network_of(DENSE, MASKED, NARROW, NARROWER), 1)
    assert [(each.milliseconds, each.name) for each in found] == [
        (4.0, "snip, 90 % removed"),
        (3.0, "filters, 50 % removed"),
        (2.0, "filters, 80 % removed"),
    ]  # none within 1 ms
    assert [each.runner_up and each.runner_up.other for each in found] == [
        "filters, 50 % removed", "filters, 80 % removed", None
    ]  # fmt: skip


def test_the_sentences_and_the_table() -> None:
    network = network_of(DENSE, MASKED, NARROW, NARROWER)
    assert answer(network)[1:] == [
        # differences 10 and 9 points: p is 0.033 with one degree of freedom
        "batch 1, at most 3 ms (75 % of dense): filters, 50 % removed 90.00 ± 0.00 % (2 seeds); +9.50 ± 6.35 points "
        "over filters, 80 % removed, differs",
        "batch 1, at most 2 ms (50 % of dense): filters, 80 % removed 80.50 ± 6.35 % (2 seeds); "
        "no other is fast enough",
    ]
    (shown,) = (piece for piece in section([network], Place()) if "<table" in piece)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line) for line in shown.split("<tr>")[2:]]
    assert all("<a" in row[3] for row in cells), "numbers lead to their trials"
    rows = [[re.sub("<[^>]*>", "", cell) for cell in row] for row in cells]
    assert rows[1] == [
        "at most 3 ms (75 % of dense)", "filters, 50 % removed", "3", "90.00 ± 0.00 (2)",
        "filters, 80 % removed: 80.50 ± 6.35 (2)", "+9.50 ± 6.35 (2)", "0.033", "differs",
    ]  # fmt: skip
    assert rows[2][-1] == "no other is fast enough"
    assert [len(row) for row in rows] == [len(HEAD)] * 3


def test_masks_alone_get_one_line_and_no_table() -> None:
    network = network_of(DENSE, MASKED)
    assert all_as_dense(network, 1)
    (sentence,) = answer(network)
    assert sentence.startswith("batch 1: every ticket has the dense network's structure and so its latency, 4 ms:")
    assert "<table" not in "".join(section([network], Place()))
    assert "<table" in "".join(section([network_of(DENSE, NARROW)], Place()))


def test_without_a_dense_trial_the_dense_time_is_the_one_measured_beside_tickets() -> None:
    rows = [timed("snip", 0.9, 0, 0.9, 4.1, dense=4.1), timed("filters", 0.5, 0, 0.8, 2.0, dense=4.0)]
    network = network_of(rows)
    assert dense_ms(network, 1) == 4.1
    assert [each.name for each in budgets(network, 1)] == ["snip, 90 % removed", *["filters, 50 % removed"] * 2]


def test_a_mean_of_thirds_is_within_its_own_budget() -> None:
    rows = [
        [timed(label, s, seed, 0.9, 0.1, dense=0.1) for seed in range(3)] for label, s in (("dense", 0), ("a", 0.9))
    ]
    rows.append([timed("b", 0.9, seed, 0.8, 0.3, dense=0.1) for seed in range(3)])
    assert [each.name for each in budgets(network_of(*rows), 1)] == ["a, 90 % removed"]


@pytest.mark.parametrize("metrics", [{"accuracy/test": 0.9}, {}])
def test_nothing_measured_nothing_said(metrics: dict) -> None:
    network = network_of([result("a", 0.9, 0, 0.9, metrics=metrics)])
    assert batches(network) == []
    assert answer(network) == []
    assert list(section([network], Place())) == []
