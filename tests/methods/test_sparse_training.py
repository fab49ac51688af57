"""RigL, SET and static sparse training: updates by hand, counts that never change, what is grown."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
import torch
from benches import RecordingBench
from moments import moment, positions, trained

from methods.layers import Layer
from methods.method import Method
from methods.rewiring import cosine
from methods.rigl import Exchanging, Rigl
from methods.set import Evolving, Set
from methods.static_sparse import StaticSparse
from methods.updater import Updater

LAYERS = (Layer("a", (20, 10)), Layer("b", (30, 10)), Layer("fc", (10, 10), True))
ERK = "random_masks(, {'keep': [20, 27, 13]})"
"""60 of 600 weights: sums of dims 30, 40, 20 of 90."""


def _some(*counts: int) -> dict[str, torch.Tensor]:
    shapes = {"a": (7, 3, 3, 3), "b": (11, 7), "c": (1, 1), "d": (2, 3), "e": (5, 5)}
    masks = {}
    for (name, shape), count in zip(shapes.items(), counts, strict=True):
        order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(count))
        masks[name] = (order < count).reshape(shape)
    return masks


MASKS = _some(60, 30, 1, 0, 25)
"""Among them a layer of one weight, an empty one and a full one."""


# RigL


def test_rigl_exchanges_the_smallest_for_the_largest_gradients() -> None:
    """At step 1 of 1000 the rate is 0.3 less next to nothing: floor(1.5 - ...) = 1 of a's 5, floor(2.4 - ...) = 2 of
    b's 8."""
    now = moment(
        {"a": [0.1, 2, -3, 4, 5, 0, 0], "b": [1, 2, 3, 4, 5, 6, 7, -0.5, 0, 0]},
        {"a": [1, 1, 1, 1, 1, 0, 0], "b": [1] * 8 + [0, 0]},
        {"a": [0, 9, 9, 9, 9, 1, -2], "b": [0.1, 9, 9, 9, 9, 9, 9, 3, -2, 1]},
    )
    change = Exchanging(1, 1000, 0.3).change(now)
    # b's -0.5 goes and comes back, and keeps its value
    assert positions(change.masks) == {"a": [0, 1, 1, 1, 1, 0, 1], "b": [0, 1, 1, 1, 1, 1, 1, 1, 1, 0]}
    assert change.reset is None
    anew = Exchanging(1, 1000, 0.3, reset_regrown=True).change(now)
    assert positions(anew.masks) == positions(change.masks)
    assert positions(anew.reset or {}) == {"a": [0] * 7, "b": [0] * 7 + [1, 0, 0]}


def test_rigl_stops_before_its_end() -> None:
    assert [step for step in range(200) if Exchanging(25, 100, 0.3).due(step) and step] == [25, 50, 75]


def test_rigls_exchange_shrinks_along_the_cosine() -> None:
    gone = []
    masks = {"a": (torch.arange(2000) < 1000)}
    for now, change in trained(Exchanging(10, 75, 0.3), masks, 100):
        left = now.masks["a"] & change.masks["a"]
        # noise as gradients: half as many candidates as are given up would come back by chance, at most all
        assert 1000 - int(left.sum()) <= math.floor(1000 * cosine(0.3, 0.0, now.step, 75))
        gone.append(1000 - int(left.sum()))
    assert len(gone) == 7
    assert gone == sorted(gone, reverse=True)
    assert gone[0] > 200 > 5 > gone[-1]


# SET


def test_set_removes_the_smallest_of_each_sign() -> None:
    """0.5 of 4 positive weights and of 2 negative ones; zero counts as positive."""
    weights = {"a": [0.0, 3, 2, 1, -0.1, -0.2, 0, 0, 0, 0]}
    kept = {"a": [1] * 6 + [0] * 4}
    now = moment(weights, kept)
    left = {"signed": [0, 1, 1, 0, 0, 1], "magnitude": [0, 1, 1, 1, 0, 0]}
    for death, survived in left.items():
        change = Evolving(1, 100, 0.5, signed=death == "signed").change(now)
        mask = change.masks["a"]
        assert int(mask.sum()) == 6
        assert mask[:6][torch.tensor(survived, dtype=torch.bool)].all(), "what survives is kept"
        back = torch.tensor([*survived, 0, 0, 0, 0]) < mask.int()
        assert change.reset is not None
        assert torch.equal(change.reset["a"], back & torch.tensor(kept["a"]).bool()), "what comes back starts from zero"


def test_set_grows_at_random_by_the_seed() -> None:
    def grown(seed: int, step: int = 1) -> list[int]:
        now = moment({"a": [1.0] * 10 + [0.0] * 990}, {"a": [1] * 10 + [0] * 990}, step=step, seed=seed)
        return positions(Evolving(1, 100, 0.3).change(now).masks)["a"]

    assert grown(1) == grown(1)
    assert grown(1) != grown(2)
    assert grown(1) != grown(1, step=2)
    assert grown(1)[:7] == [1] * 7, "3 of 10 go: of equal ones the last"
    now = moment(*({name: [value] * 100 + [0] * 900 for name in "ab"} for value in (1.0, 1)))  # type: ignore[arg-type]
    twins = positions(Evolving(1, 100, 0.3).change(now).masks)
    assert twins["a"] != twins["b"], "layers are drawn apart"


def test_all_positions_are_as_likely_to_grow() -> None:
    """3 of 13 empty positions grow: 600 draws give each 138, give or take."""
    found = torch.zeros(20)
    for seed in range(600):
        now = moment({"a": [1.0] * 10 + [0.0] * 10}, {"a": [1] * 10 + [0] * 10}, seed=seed)
        found += Evolving(1, 100, 0.3).change(now).masks["a"]
    expected = 600 * 3 / 13
    assert (found[7:] - expected).abs().max() < 4.5 * (expected * 10 / 13) ** 0.5


def test_set_goes_on_until_just_before_the_end() -> None:
    assert [step for step in range(1, 101) if Evolving(25, 100, 0.3).due(step)] == [25, 50, 75]


# Both


@pytest.mark.parametrize(
    "updater",
    [
        Exchanging(3, 90, 0.3),
        Exchanging(3, 90, 1.0, reset_regrown=True),
        Evolving(3, 90, 0.3),
        Evolving(3, 90, 0.9, False),
    ],
    ids=["rigl", "rigl all", "set", "set magnitude"],
)
@pytest.mark.parametrize("gradients", [True, False], ids=["", "no gradients"])
def test_each_layer_keeps_its_count(updater: Updater, gradients: bool) -> None:
    changed = 0
    for now, change in trained(updater, MASKS, 90, gradients=gradients):
        for name, mask in MASKS.items():
            assert int(change.masks[name].sum()) == int(mask.sum()), name
        assert torch.equal(change.masks["e"], MASKS["e"])
        if change.reset is not None:
            assert not any((change.reset[name] & ~(now.masks[name] & change.masks[name])).any() for name in MASKS)
            assert not change.reset["e"].any(), "a full layer exchanges nothing"
        changed += any(not torch.equal(change.masks[name], now.masks[name]) for name in MASKS)
    assert now.step == 87
    assert changed > 10 or not gradients


# The methods


def _find(method: Method, sparsity: str = "0.9") -> list[str]:
    bench: Any = RecordingBench(LAYERS, sparsity)
    ticket = method.find(bench)
    assert ticket.weights.key == "init"
    if ticket.trained:
        assert ticket.masks.key == f"masks_of({ticket.trained.key})"
    return bench.asked


def test_rigl_has_the_papers_defaults() -> None:
    training = f"train(init, {ERK}, 0-1000, Exchanging(every=100, end=750, drop_fraction=0.3, reset_regrown=False))"
    assert _find(Rigl()) == ["init", ERK, training, f"masks_of({training})"]


def test_set_updates_after_every_epoch() -> None:
    training = f"train(init, {ERK}, 0-1000, Evolving(every=100, end=1000, drop_fraction=0.3, signed=True))"
    assert _find(Set()) == ["init", ERK, training, f"masks_of({training})"]


def test_static_sparse_is_a_random_ticket_that_the_engine_trains() -> None:
    assert _find(StaticSparse()) == ["init", ERK]
    assert _find(StaticSparse(ratio="uniform", classifier_keep=Decimal("0.5")))[1] == (
        "random_masks(, {'keep': [4, 6, 50]})"
    )


def test_options_reach_the_updaters() -> None:
    options = {"ratio": "uniform", "every": "20it", "end": "5ep", "drop_fraction": 0.4}
    asked = _find(Rigl(**options, reset_regrown=True))
    assert "{'keep': [20, 30, 10]}" in asked[1]
    assert "Exchanging(every=20, end=500, drop_fraction=0.4, reset_regrown=True)" in asked[2]
    assert "Evolving(every=20, end=500, drop_fraction=0.4, signed=False)" in _find(Set(**options, death="magnitude"))[2]


@pytest.mark.parametrize("method", [Rigl, Set])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": "11ep"}, "end: 11ep is 1,100 iterations, beyond the schedule's 1,000 .10 epochs.; end earlier"),
        ({"every": "3ep", "end": "300it"}, "every: 3ep leaves no update before iteration 300, .* lower `every` or end"),
        ({"every": "0it"}, "every: 0it is less than one iteration"),
        ({"ratio": "smart", "classifier_keep": "0.9"}, "over the budget of 60 weights"),
    ],
)
def test_what_cannot_be_is_refused(method: type[Method], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _find(method(**options))
