"""Sanity checks: what each destroys and what it leaves, on tiny tickets and in the stages that it asks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import RecordingBench, ScoringBench
from torch import nn

from methods import checks
from methods.checks import find_checked, in_shapes_of, largest_of_each_layer, rearranged, shuffled_weights
from methods.dense import Dense
from methods.layers import Layer
from methods.lottery import Lottery
from methods.random import Random
from methods.rewinding import FineTune, LrRewinding
from methods.snip import Snip
from orchestrator.spec.method import CheckName

NET = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4, bias=False))
LAYERS = (Layer("a", (600,)), Layer("b", (300,)), Layer("fc", (10, 10), True))


def _tensors(seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    source = torch.Generator().manual_seed(seed)
    masks = {"0": torch.rand(5, 6, generator=source) < 0.4, "1": torch.rand(4, 5, generator=source) < 0.6}
    weights = {name: torch.randn(value.shape, generator=source) for name, value in NET.state_dict().items()}
    return weights, masks


def _bench(seed: int = 0) -> Any:
    return ScoringBench(NET, [], seed)


def test_rearranging_keeps_the_counts_and_moves_the_positions() -> None:
    _, masks = _tensors()
    moved = rearranged(_bench(), masks)
    assert {name: int(mask.sum()) for name, mask in moved.items()} == {n: int(mask.sum()) for n, mask in masks.items()}
    assert all(not torch.equal(moved[name], masks[name]) for name in masks)
    assert all(torch.equal(moved[name], rearranged(_bench(), masks)[name]) for name in masks)
    assert any(not torch.equal(moved[name], rearranged(_bench(1), masks)[name]) for name in masks)


def test_shuffling_permutes_the_kept_weights_of_each_layer_and_nothing_else() -> None:
    weights, masks = _tensors()
    shuffled = shuffled_weights(_bench(), weights, masks)
    for name in ("0", "1"):
        before, after, mask = weights[f"{name}.weight"], shuffled[f"{name}.weight"], masks[name]
        assert torch.equal(before[~mask], after[~mask])
        assert not torch.equal(before[mask], after[mask])
        assert torch.equal(before[mask].sort().values, after[mask].sort().values)
    assert torch.equal(shuffled["0.bias"], weights["0.bias"])


def test_the_largest_of_each_layer_as_many_as_the_ticket_keeps() -> None:
    weights, masks = _tensors()
    found = largest_of_each_layer(_bench(), weights, masks)
    for name in ("0", "1"):
        values = weights[f"{name}.weight"].abs()
        assert int(found[name].sum()) == int(masks[name].sum())
        assert values[found[name]].min() > values[~found[name]].max()


def test_fresh_weights_take_the_shapes_of_a_smaller_network() -> None:
    fresh = {"0.weight": torch.arange(30.0).view(5, 6), "n": torch.tensor(7)}
    cut = in_shapes_of(_bench(), fresh, {"0.weight": torch.zeros(2, 3), "n": torch.tensor(0)})
    assert cut["0.weight"].tolist() == [[0, 1, 2], [6, 7, 8]]
    assert cut["n"] == 7


def _asked(method: Any, check: str | None) -> tuple[Any, list[str]]:
    bench: Any = RecordingBench(LAYERS, "0.5")
    return find_checked(bench, method, check), bench.asked


def test_the_spec_names_every_check() -> None:
    assert set(CheckName.__args__) == set(checks.names())
    assert all(checks.summary(name) for name in checks.names())


def test_without_a_check_the_ticket_is_the_methods() -> None:
    assert _asked(Snip(), None) == (Snip().find(RecordingBench(LAYERS, "0.5")), _asked(Snip(), None)[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("check", ["random_labels", "random_pixels", "half_data"])
def test_spoilt_data_find_the_ticket_and_clean_ones_train_it(check: str) -> None:
    ticket, asked = _asked(LrRewinding(), check)
    view = checks.DATA[check][0]
    assert [text for text in asked if text.startswith("train")] == [f"train(init, dense, 0-1000)[{view}]"]
    assert ticket.weights.key == f"train(init, dense, 0-1000)[{view}]"
    assert ticket.trained is None


def test_a_ticket_that_trains_itself_is_trained_by_the_recipe_when_checked() -> None:
    assert _asked(FineTune(), None)[0].trained is not None
    for check in ("random_labels", "rearrange", "reinitialise"):
        assert _asked(FineTune(), check)[0].trained is None


def test_checks_of_the_ticket_start_where_it_does() -> None:
    lottery = Lottery(rewind_to="100it")
    ticket = _asked(lottery, None)[0]
    for check in ("rearrange", "same_ratio_magnitude"):
        checked = _asked(lottery, check)[0]
        assert checked.weights == ticket.weights
        assert checked.masks != ticket.masks
    shuffled = _asked(lottery, "shuffle_weights")[0]
    assert shuffled.weights.step == 100
    assert shuffled.masks == ticket.masks
    for check, masks in (("reinitialise", ticket.masks), ("same_ratio_random", _asked(lottery, "rearrange")[0].masks)):
        checked = _asked(lottery, check)[0]
        assert checked.weights.step == 0
        assert checked.masks == masks
    assert "init1" in _asked(lottery, "reinitialise")[0].weights.key


def test_checks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="check rearrange: dense finds no ticket that could be checked"):
        _asked(Dense(), "rearrange")
    with pytest.raises(ValueError, match="check half_data: random looks at no data to find its ticket"):
        _asked(Random(ratio="uniform"), "half_data")

    class Smaller(Snip):
        def find(self, bench: Any) -> Any:
            from methods.bench import Ticket

            return Ticket(bench.initialise(), bench.dense_masks())

    with pytest.raises(ValueError, match="check rearrange: the ticket of snip is a smaller network without masks"):
        _asked(Smaller(), "rearrange")
    assert _asked(Smaller(), "reinitialise")[0].weights.step == 0
