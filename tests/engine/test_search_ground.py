"""What a search is about on its network: layers of 36, 288, 1,152 and 160 weights, of which 164 are kept at 90 %."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from search_grounds import GIVEN, NINETY, WEIGHTS, MakeGround, kept, of, write

from orchestrator.engine.search import Ground
from orchestrator.engine.setting import Setting
from search_spaces.space import Inexpressible

# The budget and the bounds


def test_the_narrowest_of_overlapping_bounds_holds(make_spec) -> None:
    search = {"method": "hybrid", "sparsity": 0.9, "bounds": {"conv*": [0, 0.5], "*": [0.01, 1], "conv3": [0, 0.07]}}
    spec = make_spec(methods=[], search=search)
    ground = Ground(Setting(spec, spec.model[0]))
    low, high = ground.bounds(ground.kept(Decimal("0.9")))
    weights = [layer.weights for layer in ground.layers]
    assert high == [weights[0] // 2, weights[1] // 2, int(weights[2] * 7 / 100), weights[3]]
    assert low == [max(1, -(-each // 100)) for each in weights]


def test_the_layers_and_the_budget(ground: MakeGround) -> None:
    made = ground()
    assert {layer.name: layer.weights for layer in made.layers} == WEIGHTS
    assert made.kept(NINETY) == 1636 - 1472  # 0.9 * 1,636 = 1,472.4


def test_without_bounds_a_layer_keeps_one_weight_to_all(ground: MakeGround) -> None:
    assert ground().bounds(164) == ([1, 1, 1, 1], [36, 288, 1152, 160])
    assert ground().bounds(3) == ([0, 0, 0, 0], [36, 288, 1152, 160])  # fewer weights than layers


def test_bounds_hold_for_the_layers_that_a_pattern_names(ground: MakeGround) -> None:
    made = ground(bounds={"conv*": [0.05, 0.5], "fc": [0.1, 0.3]})
    # 0.05 of 36, 288 and 1,152 rounded up: 1.8, 14.4, 57.6; half of them; 0.1 and 0.3 of 160
    assert made.bounds(164) == ([2, 15, 58, 16], [18, 144, 576, 48])


def test_of_two_patterns_the_narrower_lower_and_the_last_upper_bound_hold(ground: MakeGround) -> None:
    made = ground(bounds={"conv*": [0.1, 0.9], "conv1": [0.05, 0.5]})
    assert made.bounds(300) == ([4, 29, 116, 1], [18, 259, 1036, 160])


def test_a_narrow_bound_leaves_a_whole_number(ground: MakeGround) -> None:
    # 28.8 weights of conv2: at least 29, and no room for a greatest below it
    assert ground(bounds={"conv2": [0.1, 0.1]}).bounds(164) == ([1, 29, 1, 1], [36, 29, 1152, 160])


@pytest.mark.parametrize(
    ("bounds", "sparsity", "message"),
    [
        ({"*": [0, 0.05]}, 0.9,  # 1 + 14 + 57 + 8
         "the layers may keep 4 to 80 of 1,636 weights, which are sparsities from 0.9511 to 0.997555, and 164 are to "
         "be kept; widen the bounds or change the sparsity"),
        ({"conv3": [0.5, 1]}, 0.9,
         "the layers may keep 579 to 1,636 of 1,636 weights, which are sparsities from 0 to 0.646088, and 164 are to "
         "be kept; widen the bounds or change the sparsity"),
    ],
)  # fmt: skip
def test_bounds_that_cannot_meet_the_budget_say_what_they_can(
    ground: MakeGround, bounds: dict[str, Any], sparsity: float, message: str
) -> None:
    made = ground(bounds=bounds, sparsity=sparsity)
    with pytest.raises(ValueError, match="to be kept") as error:
        made.bounds(made.kept(Decimal(str(sparsity))))
    assert str(error.value) == message


# From a point to ratios


@pytest.mark.parametrize("bounds", [{}, {"conv1": [0.3, 0.6], "fc": [0, 0.2]}])
@pytest.mark.parametrize("space", ["free", "polynomial", "erk_power", "stages", "mixture"])
def test_every_point_meets_the_budget_within_the_bounds(ground: MakeGround, space: str, bounds: dict[str, Any]) -> None:
    made = ground(space=space, bounds=bounds, sparsity=[0.7, 0.95])
    found = made.space(made.stand_ins)
    draws = random.Random(0)
    for _ in range(50):
        point = {name: draws.uniform(*pair) for name, pair in made.coordinates(found).items()}
        keep = made.kept(made.sparsity_of(point))
        counts = kept(made, made.ratios(found, point))
        assert sum(counts) == keep
        low, high = made.bounds(keep)
        assert all(a <= own <= b for a, own, b in zip(low, counts, high, strict=True))


def test_ratios_of_filters_are_proportions_whose_largest_is_one(ground: MakeGround) -> None:
    made = ground(method="filter_prune", sparsity=0.5, space="stages")
    assert not made.exact
    assert [(layer.name, layer.weights) for layer in made.layers] == [("conv1", 4), ("conv2", 8), ("conv3", 16)]
    point = {"stage/conv1": 0.0, "stage/conv2": -1.0, "stage/conv3": 1.0}
    assert made.ratios(made.space({}), point) == pytest.approx({"conv1": 0.1, "conv2": 0.01, "conv3": 1.0})


def test_a_range_of_sparsities_is_one_more_coordinate(ground: MakeGround) -> None:
    fixed = ground(space="erk_power")
    assert fixed.coordinates(fixed.space()) == {"power": (0.0, 2.0)}
    assert fixed.sparsity_of({"power": 1.0}) == NINETY
    ranged = ground(space="erk_power", sparsity=[0.8, 0.95])
    assert ranged.coordinates(ranged.space()) == {"power": (0.0, 2.0), "sparsity": (0.8, 0.95)}
    assert ranged.sparsity_of({"power": 1.0, "sparsity": 0.912345}) == Decimal("0.9123")


def test_the_point_of_counts_and_back(ground: MakeGround) -> None:
    made = ground(space="erk_power", sparsity=[0.8, 0.95])
    assert made.point(made.space(), made.formula("erk", NINETY), NINETY) == {"power": 1.0, "sparsity": 0.9}
    assert ground(space="free").point(ground(space="free").space(), [20, 60, 64, 20], NINETY).keys() == WEIGHTS.keys()


def test_counts_outside_the_bounds_are_no_point(ground: MakeGround) -> None:
    made = ground(space="free", bounds={"fc": [0, 0.1]})
    with pytest.raises(Inexpressible, match="it keeps 20 weights of fc, and the bounds say 1 to 16"):
        made.point(made.space(), list(GIVEN.values()), NINETY)


# Which search it is

SAME = [{"trials": 7}, {"finalists": {"best": 1, "seeds": [5]}}, {"max_hours": 2.0}]
OTHER: list[dict[str, Any]] = [
    {"space": "erk_power"},
    {"space": {"name": "free", "low": -3}},
    {"sampler": "random"},
    {"sampler": {"name": "tpe", "n_startup_trials": 5}},
    {"seed": 1},
    {"concurrency": 3},
    {"sparsity": 0.91},
    {"sparsity": [0.9, 0.95]},
    {"objectives": ["loss/val"]},
    {"objectives": ["accuracy/val", "macs"]},
    {"bounds": {"fc": [0, 0.5]}},
    {"warm_starts": ["erk"]},
    {"warm_starts": ["erk", "uniform"]},
    {"method": {"name": "hybrid", "rewind_to": "1ep"}},
    {"method": "one_shot"},
    {"fidelity": {"rungs": ["0ep"]}},
]


def test_a_search_is_the_same_whatever_its_length(ground: MakeGround) -> None:
    own = ground(space="free").definition
    assert ground(space="free").definition == own
    for change in SAME:
        assert ground(**{"space": "free", **change}).definition == own, change


def test_a_search_is_another_where_its_proposals_may_be(ground: MakeGround) -> None:
    found = {ground(**{"space": "free", **change}).definition for change in [{}, *OTHER]}
    assert len(found) == len(OTHER) + 1


def test_the_recipe_and_the_network_are_part_of_a_search(ground: MakeGround) -> None:
    sections: list[dict[str, Any]] = [
        {}, {"recipe": {"lr": 0.1}}, {"recipe": {"epochs": 3}}, {"model": {"name": "convnet", "width": 0.5}},
        {"data": {"name": "digits", "validation": 0.2}},
    ]  # fmt: skip
    assert len({ground(each, space="free").definition for each in sections}) == len(sections)


def test_a_file_that_holds_other_ratios_makes_another_search(ground: MakeGround, tmp_path: Path) -> None:
    file = write(tmp_path / "own.json", of(GIVEN))
    before = ground(space="free", warm_starts=[file]).definition
    write(tmp_path / "own.json", of(GIVEN | {"conv1": 21, "conv2": 59}))
    assert ground(space="free", warm_starts=[file]).definition != before


# The trials known from the start


def test_warm_starts_and_the_formulas_on_the_finalists_seeds_come_first(ground: MakeGround) -> None:
    made = ground(space="erk_power", finalists={"best": 2, "seeds": [7, 8]})
    tried = [("hybrid-search0", 0, 0), ("hybrid-search1", 0, 1)]
    formulas = [
        (f"hybrid-{name}", seed, None) for name in ("uniform", "erk", "smart", "lamp", "magnitude") for seed in (7, 8)
    ]
    assert [(t.arm.label, t.seed, t.search) for t in made.first_trials()] == tried + formulas
    assert {trial.sparsity for trial in made.first_trials()} == {NINETY}
    assert [trial.tested for trial in made.first_trials()] == [False] * 2 + [True] * 10


def test_no_finalists_no_formulas(ground: MakeGround) -> None:
    made = ground(space="erk_power", finalists={"best": 0})
    assert [trial.arm.label for trial in made.first_trials()] == ["hybrid-search0", "hybrid-search1"]


def test_no_more_warm_starts_than_trials(ground: MakeGround) -> None:
    made = ground(space="erk_power", trials=1, finalists={"best": 0})
    assert [trial.arm.label for trial in made.first_trials()] == ["hybrid-search0"]


def test_at_a_range_the_formulas_wait_for_the_finalists(ground: MakeGround) -> None:
    made = ground(space="erk_power", sparsity=[0.8, 0.95])
    assert {trial.search for trial in made.first_trials()} == {0, 1, 2, 3}


def test_a_finalist_is_its_ratio_on_the_finalists_seeds(ground: MakeGround) -> None:
    made = ground(finalists={"seeds": [7, 8]})
    found = made.finalist(1, {"ratios": of(GIVEN)}, NINETY)
    assert [trial.id for trial in found] == [
        "convnet-width0.25_hybrid-searched1_s90_seed7", "convnet-width0.25_hybrid-searched1_s90_seed8"
    ]  # fmt: skip
    assert found[0].arm.options["ratios"] == {name: str(ratio) for name, ratio in of(GIVEN).items()}
