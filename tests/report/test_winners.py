"""The winner at each sparsity: which it is, by how much, and which of its trials is taken away."""

import re

import pytest
from reports import result, sweep

from orchestrator.report.cells import Network, networks
from orchestrator.report.place import Place
from orchestrator.report.winners import HEAD, LEFT, answer, section, table, winner, winner_trial

THREE = {
    ("dense", 0.0): [0.99, 0.99, 0.99],
    ("lottery", 0.9): [0.95, 0.96, 0.97],
    ("snip", 0.9): [0.95, 0.95, 0.95],
    ("snip", 0.95): [0.90, 0.91, None],
    ("lottery", 0.98): [None, None, None],
}


def network_of(accuracies: dict) -> Network:
    (network,) = networks(sweep(accuracies))
    return network


def test_the_answer_is_a_sentence_a_sparsity() -> None:
    assert answer(network_of(THREE)) == [
        "90 % removed: lottery 96.00 ± 2.48 % (3 seeds); +1.00 ± 2.48 points over snip, not told apart",
        "95 % removed: snip 90.50 ± 6.35 % (2 seeds, 1 diverged); one method alone: nothing to compare",
        "98 % removed: no trial has a test accuracy: no winner",
    ]


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ({("a", 0.9): [0.9], ("b", 0.9): [0.8]},
         "a 90.00 % (1 seed); +10.00 points over b, one seed: nothing can be concluded"),
        ({("a", 0.9): [0.9, None], ("b", 0.9): [None, 0.8]},
         "a 90.00 % (1 seed, 1 diverged); next b, no seed in common: nothing can be concluded"),
        ({("b", 0.9): [0.901, 0.902, 0.903], ("a", 0.9): [0.1, 0.1, 0.1], ("c", 0.9): [0.8, 0.8, 0.8]},
         "b 90.20 ± 0.25 % (3 seeds); +10.20 ± 0.25 points over c, differs"),
    ],
)  # fmt: skip
def test_what_is_said_of_the_runner_up(accuracies: dict, said: str) -> None:
    assert answer(network_of(accuracies)) == [f"90 % removed: {said}"]


def test_the_table_has_the_numbers_of_both() -> None:
    network = network_of(THREE)
    first, second = ([re.sub(r"<[^>]*>", "", cell) for cell in row] for row in table(network, Place()))
    # paired differences 0, 1, 2: t = 1 / (1 / sqrt(3)), p = 0.2254 with two degrees of freedom
    assert first == [
        "90 % removed", "lottery", "96.00 ± 2.48 (3)", "snip", "95.00 ± 0.00 (3)", "+1.00 ± 2.48 (3)", "0.23",
        "not told apart",
    ]  # fmt: skip
    assert second[1:3] == ["snip", "90.50 ± 6.35 (2) 1 diverged"]
    assert second[-1] == "one method alone: nothing to compare"
    assert len(first) == len(second) == len(HEAD)
    assert [HEAD[i] for i in LEFT] == ["winner", "runner-up", "verdict"]


def test_the_dense_network_wins_nothing() -> None:
    network = network_of(THREE)
    assert winner(network, 0.0) is None
    assert winner_trial(network, 0.0) is None
    assert winner(network, 0.98) is None, "all of it diverged"
    assert list(section(networks(sweep({("dense", 0.0): [0.99]})), Place())) == []


def with_validation(validation: list[float | None], test: list[float]) -> Network:
    metrics = [
        {"accuracy/test": t, **({} if v is None else {"accuracy/val": v})}
        for v, t in zip(validation, test, strict=True)
    ]
    (network,) = networks([result("a", 0.9, seed, 0.5, metrics=each) for seed, each in enumerate(metrics)])
    return network


@pytest.mark.parametrize(
    ("validation", "test", "seed"),
    [
        ([0.8, 0.9, 0.7], [0.5, 0.1, 0.99], 1),  # not the best of the test images
        ([0.8, 0.9, 0.9], [0.5, 0.5, 0.6], 1),  # a tie: the lowest seed
        ([None, None, None], [0.1, 0.2, 0.3], 0),
        ([None, 0.0, None], [0.1, 0.2, 0.3], 1),
    ],
)
def test_the_trial_to_take_away_is_chosen_by_validation(
    validation: list[float | None], test: list[float], seed: int
) -> None:
    found = winner_trial(with_validation(validation, test), 0.9)
    assert found is not None
    assert found["seed"] == seed


def test_names_are_escaped_on_the_page() -> None:
    shown = "".join(section(networks([result("<i>", 0.9, 0, 0.9, model="<b>")]), Place()))
    assert "&lt;b&gt;: the ticket" in shown
    assert "90 % removed: &lt;i&gt; 90.00 % (1 seed); one method alone" in shown
    assert "<i>" not in shown


def test_a_share_of_something_else_than_weights_is_named() -> None:
    rows = [
        result(label, 0.5, 0, 0.9, options={"target": target})
        for label, target in (("a", "sparsity"), ("b", "macs"), ("c", "latency"))
    ]
    shown = "".join(section(networks(rows), Place()))
    said = "Here b removes a share of macs, not of weights; c removes a share of latency, not of weights.</p>"
    assert said in shown
    assert "not of weights" not in "".join(section([network_of(THREE)], Place()))
