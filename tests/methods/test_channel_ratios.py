"""Filter pruning under a ratio of each group: which filters go first, and what is searched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from benches import RecordingBench
from pydantic import ValidationError
from structure_benches import StructureBench
from structure_nets import Added, plain, shapes

from methods.layers import Layer
from methods.structure.filters import FilterPrune, RandomFilter, removable, without_filters
from methods.structure.order import removal_order

SCORES = {"0": torch.tensor([0.3, 0.1, 0.2]), "3": torch.tensor([7.0, 5.0, 0.25, 6.0])}


@pytest.mark.parametrize(
    ("ratios", "order"),
    [
        # k / (r n): 3/3 and 2/3 of the first group, 4/4, 3/4 and 2/4 of the second; the tie goes to the first
        (("1", "1"), [("0", 1), ("3", 2), ("3", 1), ("0", 2), ("3", 3)]),
        # 3/1.5 and 2/1.5: all that may go of the first, before 4/4
        (("0.5", "1"), [("0", 1), ("0", 2), ("3", 2), ("3", 1), ("3", 3)]),
        # 3/3 and 2/3; 4/2.4, 3/2.4 and 2/2.4
        (("1", "0.6"), [("3", 2), ("3", 1), ("0", 1), ("3", 3), ("0", 2)]),
        (("1", "0"), [("3", 2), ("3", 1), ("3", 3), ("0", 1), ("0", 2)]),
    ],
)
def test_under_ratios_what_is_over_its_share_goes_first(ratios: tuple[str, str], order: list) -> None:
    layers = StructureBench(plain()).layers
    assert removal_order(layers, SCORES, dict(zip(("0", "3"), ratios, strict=True))) == order


def test_in_a_later_round_shares_are_still_of_the_dense_groups() -> None:
    """Two of four are left of the second group: 2/4, after 3/3 and 2/3 of the first."""
    left = {"0": SCORES["0"], "3": torch.tensor([7.0, 6.0])}
    assert removal_order(StructureBench(plain()).layers, left, {"0": "1", "3": "1"}) == [("0", 1), ("0", 2), ("3", 1)]


def test_of_equal_scores_the_earlier_goes_under_ratios_too() -> None:
    equal = {"0": torch.ones(3), "3": torch.ones(4)}
    order = removal_order(StructureBench(plain()).layers, equal, {"0": "1", "3": "0.1"})
    assert order == [("3", 1), ("3", 2), ("3", 3), ("0", 1), ("0", 2)]


def test_groups_keep_shares_in_proportion_to_their_ratios() -> None:
    bench = StructureBench(plain())
    ratios = {"0": "1", "3": "0.6"}
    by_count = [
        shapes(without_filters(bench, bench.weights, SCORES, count=count, ratios=ratios), "0", "3")
        for count in range(6)
    ]
    assert [(first[0], second[0]) for first, second in by_count] == [(3, 4), (3, 3), (3, 2), (2, 2), (2, 1), (1, 1)]
    left = without_filters(bench, bench.weights, SCORES, target="sparsity", fraction="0.5", ratios=ratios)
    # 3*9 + 4*27 + 36*10 = 495 weights; with two units of the second group 27 + 54 + 180 = 261 are left, and with two
    # of the first as well 18 + 36 + 180 = 234, less than half
    assert shapes(left, "0", "3") == [(2, 1, 3, 3), (2, 2, 3, 3)]
    assert torch.equal(left["3.weight"], bench.weights["3.weight"][[0, 3]][:, [0, 2]])


class Recording(RecordingBench):
    latency_batches = (1,)

    def examine(self, function: Callable) -> object:
        if function is removable:
            return function(plain(), StructureBench(plain()))
        return 0.99


def removal(**options: object) -> str:
    bench = Recording(StructureBench(plain()).layers, "0.5")
    FilterPrune(**options).find(bench)  # type: ignore[arg-type]
    return bench.asked[-1]


def test_ratios_are_in_a_stage_only_where_they_are_given() -> None:
    assert removal().endswith("{'target': 'sparsity', 'fraction': '0.5'})")
    assert removal(ratio="uniform").endswith(
        "{'ratios': {'0': '1', '3': '1'}, 'target': 'sparsity', 'fraction': '0.5'})"
    )
    assert "{'ratios': {'0': '0.25', '3': '1.0'}, " in removal(ratios={"3": 1.0, "0": 0.25})


def test_ratios_of_other_groups_are_refused() -> None:
    names = "for each of 0, 3 (filters that can only be removed together are one group, under the name of its first"
    for given, fault in (
        ({"0": 1, "3": 1, "7": 1}, "ratios: '7' is no group of filters"),
        ({"0": 1}, "ratios: '3' is missing"),
    ):
        with pytest.raises(ValueError, match="ratios: ") as caught:
            FilterPrune(ratios=given).units(StructureBench(plain()))
        assert str(caught.value).startswith(f"{fault}; expected a keep ratio {names}")
    with pytest.raises(ValidationError, match="choose one"):
        FilterPrune(ratio="uniform", ratios={"0": 1})
    with pytest.raises(ValidationError):
        FilterPrune(ratio="erk")


def test_what_is_searched_are_the_groups() -> None:
    assert FilterPrune().searched(StructureBench(Added())) == (Layer("stem", (3,)), Layer("last", (5,)))
    assert FilterPrune.formulas == {"uniform": {"ratio": "uniform"}, "magnitude": {}}
    assert (RandomFilter.formulas, "ratios" in RandomFilter.Options.model_fields) == ({}, False)
