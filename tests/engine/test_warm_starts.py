"""What a search tries first: formulas that its space holds, files of ratios, a former sweep's."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_grounds import GIVEN, NINETY, MakeGround, of, write


@pytest.mark.parametrize(
    ("space", "wanted"),
    [
        ("polynomial", ["uniform", "smart"]),
        ("erk_power", ["uniform", "erk"]),
        ("free", ["uniform", "erk", "smart", "lamp", "magnitude"]),
        ("mixture", ["uniform", "erk", "smart", "lamp", "magnitude"]),
    ],
)
def test_what_a_space_holds_is_tried_first(ground: MakeGround, space: str, wanted: list[str]) -> None:
    made = ground({"model": "convnet"}, space=space)
    assert [start.source for start in made.warm_starts] == wanted
    assert dict(made.warm_starts[0].options) == {"ratio": "uniform"}
    assert {start.sparsity for start in made.warm_starts} == {NINETY}


def test_of_a_range_both_ends_are_tried(ground: MakeGround) -> None:
    made = ground(space="erk_power", sparsity=[0.8, 0.95])
    assert [(start.source, str(start.sparsity)) for start in made.warm_starts] == [
        ("uniform", "0.8"), ("erk", "0.8"), ("uniform", "0.95"), ("erk", "0.95")
    ]  # fmt: skip


def test_filters_start_from_their_own_formulas(ground: MakeGround) -> None:
    made = ground(method="filter_prune", sparsity=0.5, space="free")
    assert [(start.source, dict(start.options)) for start in made.warm_starts] == [
        ("uniform", {"ratio": "uniform"}), ("magnitude", {})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("erk", "erk: no point of the space polynomial gives these counts .*; the space free holds every distribution"),
        ("lamp", r"lamp: is said by the trained network, which .* the spaces free and mixture do \(of: "
                 r"\[..., lamp\]\)"),
        ("nope", "'nope' is no formula of hybrid, no file of ratios and no folder of a sweep with a search; formulas: "
                 "uniform, erk, smart, lamp, magnitude"),
    ],
)  # fmt: skip
def test_a_warm_start_that_was_asked_for_and_cannot_be_is_refused(
    ground: MakeGround, source: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _ = ground({"model": "convnet"}, warm_starts=["uniform", source]).warm_starts


def test_a_space_made_from_a_profile_needs_it_among_the_warm_starts(ground: MakeGround) -> None:
    with pytest.raises(ValueError, match="the space mixture is made from lamp, which is not among the warm_starts"):
        _ = ground(space="mixture", warm_starts=["erk"]).warm_starts
    alone = ground(space={"name": "mixture", "of": ["erk", "lamp"]}, warm_starts=["lamp"])
    assert alone.profiles == ("lamp",)
    assert [start.source for start in alone.warm_starts] == ["lamp"]


def test_a_file_of_ratios_is_a_warm_start_at_the_searchs_budget(ground: MakeGround, tmp_path: Path) -> None:
    file = write(tmp_path / "own.json", {name: ratio / 2 for name, ratio in of(GIVEN).items()})
    made = ground(space="free", warm_starts=["uniform", file])
    (_, start) = made.warm_starts
    assert start.source == file
    assert made.counts_of(start) == list(GIVEN.values())
    assert start.options["ratios"] == pytest.approx(of(GIVEN))
    assert ground(space="free", warm_starts=[]).warm_starts == []


def test_a_former_sweeps_folder_gives_its_best_ratios(ground: MakeGround, tmp_path: Path) -> None:
    other = {"conv1": 30, "conv2": 50, "conv3": 60, "fc": 24}
    write(tmp_path / "former" / "ratios" / "pareto-4.json", of(other))
    write(tmp_path / "former" / "ratios" / "pareto-7.json", of(GIVEN))  # of two objectives the best is one of these
    write(tmp_path / "former" / "ratios" / "best.json", of(GIVEN))
    write(tmp_path / "former" / "plan.json", {})
    made = ground(space="free", warm_starts=[str(tmp_path / "former")])
    assert [Path(start.source).name for start in made.warm_starts] == ["best.json", "pareto-4.json"]
    assert [made.counts_of(start) for start in made.warm_starts] == [list(GIVEN.values()), list(other.values())]


@pytest.mark.parametrize(
    ("content", "space", "message"),
    [
        ({"conv1": 1.0}, "free", "'conv2' is missing; expected a keep ratio for each of conv1, conv2, conv3, fc"),
        (of(GIVEN) | {"fc": 3}, "free", "the keep ratio of layer 'fc' is 3; expected a number in 0..1"),
        (of(GIVEN), "erk_power", "no point of the space erk_power gives these counts"),
    ],
)
def test_a_file_that_does_not_go_with_the_search_is_refused(
    ground: MakeGround, tmp_path: Path, content: dict[str, float], space: str, message: str
) -> None:
    file = write(tmp_path / "own.json", content)
    with pytest.raises(ValueError, match=message):
        _ = ground(space=space, warm_starts=[file]).warm_starts
