"""COLT: the algebra of overlapping masks, by hand, and the course it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import RecordingBench, ScoringBench
from torch import nn

from methods.bench import Tensors
from methods.colt import Colt, _after, kept_weights, overlapping
from methods.head import with_own_head, with_whole_head
from methods.layers import Layer

NET = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False))
ALL = {"0": torch.ones(2, 4, dtype=torch.bool), "1": torch.ones(2, 2, dtype=torch.bool)}
FIRST = {"0.weight": torch.tensor([[8.0, -7, 6, -5], [4, -3, 2, -1]]), "1.weight": torch.ones(2, 2)}
SECOND = {"0.weight": torch.tensor([[1.0, -2, 3, -4], [5, -6, 7, -8]]), "1.weight": torch.ones(2, 2)}
THIRD = {"0.weight": torch.tensor([[1.0, 9, 9, 9], [9, 9, 9, 9]]), "1.weight": torch.ones(2, 2)}


def _overlap(masks: Tensors, *copies: Tensors, **options: Any) -> list[list[int]]:
    bench: Any = ScoringBench(NET, [])
    found = overlapping(bench, masks, *copies, **{"dense": ["1"], "scope": "global", **options})
    assert found["1"].all(), "a dense layer keeps all"
    return found["0"].int().tolist()


def test_what_any_copy_prunes_is_gone() -> None:
    # a quarter of 8: the first copy drops 1 and 2 (its last two), the second its first two
    assert _overlap(ALL, FIRST, SECOND, fraction="0.25") == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert _overlap(ALL, FIRST, FIRST, fraction="0.25") == [[1, 1, 1, 1], [1, 1, 0, 0]], "copies that agree"
    assert _overlap(ALL, FIRST, SECOND, THIRD, fraction="0.25") == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert _overlap(ALL, FIRST, SECOND, fraction="0.5") == [[0, 0, 0, 0], [0, 0, 0, 0]], "none survives both"


def test_the_fraction_is_of_what_is_left_and_nothing_comes_back() -> None:
    masks = {"0": torch.tensor([[True, False, True, True], [True, False, False, True]]), "1": ALL["1"]}  # 5 left
    # a fifth of 5 is one weight: of the first copy -1 (last), of the second 1 (first)
    assert _overlap(masks, FIRST, SECOND, fraction="0.2") == [[0, 0, 1, 1], [1, 0, 0, 0]]
    assert _after(5, Colt().options.fraction) == 4, "0.75 of a weight is one"
    assert _after(2, Colt().options.fraction) == 1, "a round removes one at least"


@pytest.mark.parametrize("keep", range(9))
def test_a_partial_round_keeps_exactly_what_is_asked_and_lies_on_the_way(keep: int) -> None:
    kept = torch.tensor(_overlap(ALL, FIRST, SECOND, keep=keep))
    assert int(kept.sum()) == keep
    more = torch.tensor(_overlap(ALL, FIRST, SECOND, keep=min(8, keep + 1)))
    assert ((more - kept) >= 0).all(), "each is within the next"
    # the whole rounds that remove a weight of each copy: 8, 6, 4, 2 weights are left
    for removed in range(1, 4):
        whole = torch.tensor(_overlap(ALL, FIRST, SECOND, fraction=str(removed / 8)))
        if int(whole.sum()) == keep:
            assert torch.equal(whole, kept)


def test_layerwise_prunes_the_same_fraction_of_each_layer() -> None:
    bench: Any = ScoringBench(NET, [])
    copy = {"0.weight": FIRST["0.weight"], "1.weight": torch.tensor([[0.1, 0.2], [0.3, 0.4]])}
    options: dict[str, Any] = {"dense": [], "fraction": "0.5"}
    layerwise = overlapping(bench, ALL, copy, scope="layerwise", **options)
    assert {name: int(mask.sum()) for name, mask in layerwise.items()} == {"0": 4, "1": 2}
    together = overlapping(bench, ALL, copy, scope="global", **options)
    assert {name: int(mask.sum()) for name, mask in together.items()} == {"0": 6, "1": 0}
    exact = overlapping(bench, ALL, copy, scope="layerwise", dense=[], keep=6)
    assert {name: int(mask.sum()) for name, mask in exact.items()} == {"0": 4, "1": 2}


def test_copies_share_all_but_what_depends_on_the_number_of_classes() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    bench: Any = ScoringBench(net, [])
    bench.classes = 2
    own = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    shared = {
        "0.weight": torch.ones(3, 4),
        "0.bias": torch.ones(3),
        "1.weight": torch.ones(4, 3),
        "1.bias": torch.ones(4),
    }
    found = with_own_head(bench, own, shared, classes=4)
    assert {name: (float(value.mean()), len(value)) for name, value in found.items()} == {
        "0.weight": (1, 3), "0.bias": (1, 3), "1.weight": (0, 2), "1.bias": (0, 2),
    }  # fmt: skip
    # the classifier is a copy's own even where its shape is the same
    as_many = {**shared, "1.weight": torch.ones(2, 3), "1.bias": torch.ones(2)}
    assert not with_own_head(bench, own, as_many, classes=2)["1.bias"].any()


def test_the_whole_networks_head_is_dense() -> None:
    bench: Any = ScoringBench(NET, [])
    small = {"0": ~ALL["0"], "1": torch.zeros(1, 2, dtype=torch.bool)}
    bench.classes = 2
    found = with_whole_head(bench, small, classes=1)
    assert not found["0"].any()
    assert found["1"].shape == (2, 2)
    assert found["1"].all()


def test_the_weights_left_are_those_of_layers_that_are_pruned() -> None:
    assert kept_weights(None, {**ALL, "0": ALL["0"] & (FIRST["0.weight"] > 0)}, ["1"])["kept"] == 4  # type: ignore[arg-type]


CONV = (Layer("conv", (10, 10, 3, 3)), Layer("hidden", (10, 10)), Layer("fc", (10, 10), True))


class _Bench(RecordingBench):
    """Answers with what was scripted, else as the plan does."""

    def __init__(self, sparsity: str, answers: tuple[int, ...] = (), layers: tuple[Layer, ...] = CONV) -> None:
        super().__init__(layers, sparsity)
        self.answers = list(answers)

    def side_by_side(self, asking: Any) -> Any:
        return [ask() for ask in asking]

    def ask(self, stage: Any, name: str, otherwise: float) -> float:
        return self.answers.pop(0) if self.answers else otherwise


def _rounds(bench: Any, **options: Any) -> tuple[int, list[str]]:
    ticket = Colt(**options).find(bench)
    assert ticket.weights.key == "init"
    trainings = [text for text in bench.asked if text.startswith("train(")]
    return len(trainings), [text for text in bench.asked if text.startswith("overlapping")]


def test_a_plan_supposes_copies_that_agree() -> None:
    """900 weights of convolutions, 200 dense ones: 0.5 of 1,100 leaves 350. 900 * 0.85^t: 765, 650, ..., 399, 339."""
    trainings, overlaps = _rounds(_Bench("0.5"))
    assert trainings == 2 * 6
    assert len(overlaps) == 7, "the last round passes the target, and a partial one meets it"
    assert "'keep': 350" in overlaps[-1]
    assert overlaps[-1].split(",")[0] == overlaps[-2].split(",")[0], "it branches off where the last round began"


def test_the_course_follows_what_is_really_left() -> None:
    trainings, overlaps = _rounds(_Bench("0.5", answers=(600, 360, 200)))
    assert (trainings, len(overlaps)) == (6, 4)
    trainings, overlaps = _rounds(_Bench("0.5", answers=(600, 350)))
    assert (trainings, len(overlaps)) == (4, 2), "a round that meets the target needs no partial one"
    trainings, overlaps = _rounds(_Bench("0.5", answers=(600, 200)), exact=False)
    assert (trainings, len(overlaps)) == (4, 2)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sparsity 0\.9 keeps fewer weights than the 200 of the layers that colt"):
        Colt().find(_Bench("0.9"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="colt prunes convolutions, and the network has none"):
        Colt().find(_Bench("0.5", layers=CONV[1:]))  # type: ignore[arg-type]
    Colt(prune_linear=True).find(_Bench("0.3", layers=CONV[1:]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="takes more than 1,000 rounds"):
        Colt(fraction="0.0001", prune_linear=True).find(_Bench("0.9", layers=(Layer("c", (9999, 9, 3, 3)),)))  # type: ignore[arg-type]
