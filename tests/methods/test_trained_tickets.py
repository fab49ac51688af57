"""Tickets of the trained network: learning-rate rewinding, fine-tuning, hybrid; LAMP, files of ratios, same_as."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from benches import RecordingBench

from methods.bench import Ticket
from methods.hybrid import Hybrid
from methods.lamp import lamp_scores
from methods.layers import Layer
from methods.lottery import Lottery
from methods.random import Random
from methods.ratios import given_counts, layer_counts
from methods.rewinding import FineTune, LrRewinding

LAYERS = (Layer("a", (600,)), Layer("b", (300,)), Layer("fc", (10, 10), True))
DENSE = "train(init, dense, 0-1000)"


class _Bench(RecordingBench):
    def found_by(self, method: str, options: dict[str, Any]) -> Ticket:
        known = {"lottery": Lottery, "random": Random}
        if method not in known:
            raise LookupError(f"unknown method {method!r}")
        return known[method](**options).find(self)  # type: ignore[arg-type]


def _find(method: Any, sparsity: str = "0.5") -> tuple[Ticket, list[str]]:
    bench: Any = _Bench(LAYERS, sparsity, residual=True)
    return method.find(bench), bench.asked


@pytest.mark.parametrize(("rewind_to", "step"), [("0ep", 0), ("4ep", 400), ("999it", 999)])
def test_the_trained_weights_train_on_from_an_earlier_step(rewind_to: str, step: int) -> None:
    ticket, asked = _find(LrRewinding(rewind_to=rewind_to))
    assert asked == ["init", DENSE, f"magnitude_masks({DENSE}, dense, {{'keep': 500, 'dense': []}})"]
    assert (ticket.weights.key, ticket.weights.step, ticket.trained) == (DENSE, step, None)


def test_each_level_trains_on_from_the_one_before() -> None:
    ticket, asked = _find(LrRewinding(rewind_to="4ep", fraction="0.2"), "0.36")
    trainings = [text for text in asked if text.startswith("train")]
    assert len(trainings) == 2
    assert trainings[1].startswith(f"train({DENSE}, magnitude")
    assert trainings[1].endswith(", 400-1000)")
    assert ticket.weights.key == trainings[1]
    assert ticket.weights.step == 400


def test_rewinding_to_the_end_is_refused() -> None:
    for method in (LrRewinding(rewind_to="10ep"), Hybrid(rewind_to="1000it")):
        with pytest.raises(ValueError, match="is not before the schedule's end, where a ticket has nothing"):
            _find(method)


def test_fine_tuning_is_a_recipe_of_its_own() -> None:
    ticket, asked = _find(FineTune(epochs=3, lr=0.002))
    recipe = {"epochs": 3, "lr": 0.002, "schedule": {"name": "constant"}}
    assert ticket.trained is not None
    assert ticket.trained.key == asked[-1]
    assert asked[-1].startswith(f"train({DENSE}, magnitude")
    assert asked[-1].endswith(f", 0-300){recipe}")
    assert _find(FineTune())[1][-1].endswith(
        f", 0-1000){ {'epochs': 10, 'lr': 0.001, 'schedule': {'name': 'constant'}} }"
    )
    levels = [text for text in _find(FineTune(fraction="0.2", epochs=3), "0.36")[1] if text.startswith("train")]
    assert len(levels) == 3, "the dense training, the first level's and the ticket's"
    assert levels[2].startswith(f"train({levels[1]}, magnitude"), "it goes on from the level before"


def test_hybrid_keeps_the_largest_trained_weights_under_a_ratio() -> None:
    ticket, asked = _find(Hybrid(ratio="erk"))
    counts = layer_counts("erk", LAYERS, Decimal("0.5"), residual=True)
    named = dict(zip("ab", counts, strict=False)) | {"fc": counts[2]}
    assert asked == ["init", DENSE, f"magnitude_masks({DENSE}, dense, {{'keep': {named}, 'dense': []}})"]
    assert (ticket.weights.key, ticket.weights.step) == (DENSE, 0)
    smart = layer_counts("smart", LAYERS, Decimal("0.5"), residual=True)
    assert str(smart[0]) in _find(Hybrid())[1][-1]
    assert _find(Hybrid(ratio="lamp"))[1][-1] == f"lamp_masks({DENSE}, dense, {{'keep': 500}})"


def test_a_hybrid_ticket_under_the_magnitudes_ratio_is_global_magnitude_pruning() -> None:
    ticket, asked = _find(Hybrid(ratio="magnitude"))
    assert (ticket, asked) == _find(LrRewinding())
    assert asked[-1] == f"magnitude_masks({DENSE}, dense, {{'keep': 500, 'dense': []}})"
    random, asked = _find(Random(ratio="magnitude"))
    assert asked == ["init", DENSE, ticket.masks.key, f"rearranged({ticket.masks.key}, {{}})"]
    assert (random.weights.key, random.masks.key) == ("init", asked[-1])


# LAMP


def test_lamp_scores_by_hand() -> None:
    """Squares 9, 4, 1, 16: sums of those not smaller 25, 29, 30, 16."""
    scores = lamp_scores(torch.tensor([[-3.0, 2.0], [1.0, 4.0]]))
    torch.testing.assert_close(scores, torch.tensor([[9 / 25, 4 / 29], [1 / 30, 1.0]], dtype=torch.float64))
    tied = lamp_scores(torch.tensor([2.0, 2.0, 0.0]))
    torch.testing.assert_close(tied, torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))
    assert lamp_scores(torch.zeros(3)).tolist() == [0, 0, 0]


def test_a_random_ticket_has_lamps_or_another_methods_counts_at_random_positions() -> None:
    lamp = _find(Random(ratio="lamp"))
    assert lamp[1][-1] == f"rearranged(lamp_masks({DENSE}, dense, {{'keep': 500}}), {{}})"
    assert lamp[0].weights.key == "init"
    lottery = _find(Lottery(fraction="0.4"))[0]
    for same_as in ({"name": "lottery", "fraction": "0.4"},):
        ticket, asked = _find(Random(same_as=same_as))
        assert asked[-1] == f"rearranged({lottery.masks.key}, {{}})"
        assert ticket.weights.key == "init"
    with pytest.raises(ValueError, match="same_as: unknown method 'lotery'"):
        _find(Random(same_as="lotery"))
    with pytest.raises(pydantic.ValidationError, match="same_as takes the layer-wise ratio of another method"):
        Random(same_as="lottery", ratio="erk")


# Files of ratios


def _written(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_files_ratios_are_met_exactly_or_scaled_to_the_budget(tmp_path: Path) -> None:
    ratios = {"a": 0.5, "b": 0.4, "fc": 0.8}
    exact = Random(ratios=_written(tmp_path / "r.json", ratios)).options
    assert exact.ratios == {"a": Decimal("0.5"), "b": Decimal("0.4"), "fc": Decimal("0.8")}
    assert given_counts(exact.ratios, LAYERS, Decimal("0.5")) == [300, 120, 80]
    assert given_counts(exact.ratios, LAYERS, Decimal("0.75")) == [150, 60, 40]
    assert given_counts(exact.ratios, LAYERS, Decimal("0.25")) == [464, 186, 100], "what is full is dense"
    rows = {"layers": [{"name": name, "keep_ratio": ratio, "kept": 1} for name, ratio in ratios.items()]}
    assert Random(ratios=_written(tmp_path / "rows.json", rows)).options.ratios == exact.ratios
    assert "'keep': [300, 120, 80]" in _find(Random(ratios=ratios))[1][-1]
    named = {"a": 300, "b": 120, "fc": 80}
    assert f"'keep': {named}" in _find(Hybrid(ratios=ratios))[1][-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ([1, 2], "holds no ratios; expected {layer: keep ratio}"),
        ({}, "holds no ratios"),
        ({"a": 2}, "the keep ratio of layer 'a' is 2; expected a number in 0..1"),
        ({"a": True}, "the keep ratio of layer 'a' is True"),
        ({"a": 1.5}, "r.json: the keep ratio of layer 'a' is 1.5; expected"),
        ({"a": "x"}, "r.json: the keep ratio of layer 'a' is 'x'; expected"),
        ({"layers": [{"name": "a"}]}, "holds no ratios"),
    ],
)
def test_a_file_that_holds_no_ratios_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(pydantic.ValidationError) as error:
        Random(ratios=_written(tmp_path / "r.json", content))
    assert message in str(error.value)


def test_a_file_is_given_by_its_path_alone() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"by its path alone; write `ratios: best\.json`"):
        Random(ratios={"file": "best.json"})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pydantic.ValidationError, match="cannot be read"):
        Random(ratios=str(tmp_path / "none.json"))


def test_ratios_of_other_layers_are_refused() -> None:
    full = {"a": Decimal(1), "b": Decimal(1), "fc": Decimal(1)}
    for ratios, message in (
        (
            {**full, "c": Decimal(1)},
            "ratios: 'c' is no layer of the network; expected a keep ratio for each of",
        ),
        ({"a": Decimal(1), "b": Decimal(1)}, "ratios: 'fc' is missing"),
        ({**full, "a": Decimal(0)}, "hold fewer than the 500 weights that sparsity 0.5 keeps"),
    ):
        with pytest.raises(ValueError, match="ratios: ") as error:
            given_counts(ratios, LAYERS, Decimal("0.5"))
        assert message in str(error.value)


def test_two_ways_to_say_a_ratio_are_one_too_many() -> None:
    with pytest.raises(pydantic.ValidationError, match="choose one"):
        Random(ratio="erk", ratios={"a": 1})
    with pytest.raises(pydantic.ValidationError, match="classifier_keep goes with a ratio that is a formula"):
        Hybrid(ratio="lamp", classifier_keep="0.5")
    with pytest.raises(pydantic.ValidationError, match="classifier_keep goes with a ratio that is a formula"):
        Random(ratio="magnitude", classifier_keep="0.5")
    assert Hybrid(classifier_keep="0.5").options.ratio == "smart"
