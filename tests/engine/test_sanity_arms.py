"""Sanity checks as arms of a sweep: their trials, what they share with the arm they check, and what they train on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from trial_runs import run_all

from orchestrator.api import load_ticket
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.results import results
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError

MakeSpec = Callable[..., Spec]
ALL = [
    *("random_labels", "random_pixels", "half_data"),
    *("rearrange", "shuffle_weights", "reinitialise", "same_ratio_random", "same_ratio_magnitude"),
]


def _ticket(folder: SweepFolder, label: str) -> Any:
    return load_ticket(folder.trial(f"convnet-width0.25_{label}_s90_seed0"))


def test_every_check_is_a_trial_of_its_own_beside_the_arm(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=[{"name": "snip", "per_class": 3, "checks": ALL}])
    found = run_all(folder, spec)
    assert [result["status"] for result in found.values()] == ["done"] * 9, [r["error"] for r in found.values()]
    assert {result["check"] for result in found.values()} == {None, *ALL}
    assert {result["arm"] for result in found.values()} == {"snip-per_class3"}
    table = results(folder)
    assert set(table["label"]) == {"snip-per_class3", *(f"snip-per_class3+{check}" for check in ALL)}
    assert list(table["check"].isna()) == [label == "snip-per_class3" for label in table["label"]]

    plain = _ticket(folder, "snip-per_class3")
    kept = {name: int(mask.sum()) for name, mask in plain.masks.items()}
    for check in ALL:
        ticket = _ticket(folder, f"snip-per_class3+{check}")
        same_masks = all(torch.equal(ticket.masks[name], plain.masks[name]) for name in kept)
        same_start = all(torch.equal(ticket.start[name], plain.start[name]) for name in plain.start)
        assert same_masks == (check in ("shuffle_weights", "reinitialise")), check
        assert same_start == (check not in ("shuffle_weights", "reinitialise")), check
        if check in ("rearrange", "same_ratio_random", "same_ratio_magnitude"):
            assert {name: int(mask.sum()) for name, mask in ticket.masks.items()} == kept
    same_ratio, rearranged = (_ticket(folder, f"snip-per_class3+{each}") for each in ("same_ratio_random", "rearrange"))
    # of an initial ticket these are one and the same: the stages are shared, and nothing is trained twice
    assert all(torch.equal(same_ratio.weights[name], rearranged.weights[name]) for name in same_ratio.weights)


def test_what_finds_the_ticket_is_spoilt_and_what_trains_it_is_not(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=[{"name": "lottery", "fraction": 0.7, "rewind_to": "1ep", "checks": ["half_data"]}])
    found = {result["check"]: result for result in run_all(folder, spec).values()}
    plain, half = found[None], found["half_data"]
    assert half["status"] == "done", half["error"]
    # 12 steps a training of the whole data, 6 of half; two levels; what is left of the last from step 6 and 6
    assert plain["metrics"]["cost/epochs"] == pytest.approx((12 + 6 + 6) / 6)
    assert half["metrics"]["cost/epochs"] == pytest.approx((6 + 3 + 6) / 6)
    assert len(half["history"]) == len(plain["history"]) == 1, "the last epoch, of the whole data"


def test_a_check_that_cannot_be_done_is_refused_by_the_plan(make_spec: MakeSpec) -> None:
    for method, check, message in (
        ("dense", "rearrange", "dense finds no ticket that could be checked"),
        ("random", "random_labels", "random looks at no data to find its ticket"),
        ("filter_prune", "rearrange", "is a smaller network without masks"),
    ):
        with pytest.raises(SpecError, match=message):
            make_plan(make_spec(methods=[{"name": method, "checks": [check]}], sparsities=[0.3]))


def test_a_smaller_network_is_drawn_anew(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=[{"name": "filter_prune", "checks": ["reinitialise", "half_data"]}], sparsities=[0.3])
    found = run_all(folder, spec)
    assert [result["status"] for result in found.values()] == ["done"] * 3, [r["error"] for r in found.values()]
    plain = load_ticket(folder.trial("convnet-width0.25_filter_prune_s30_seed0"))
    fresh = load_ticket(folder.trial("convnet-width0.25_filter_prune+reinitialise_s30_seed0"))
    assert {name: value.shape for name, value in fresh.start.items()} == {n: v.shape for n, v in plain.start.items()}
    assert not torch.equal(fresh.start["conv2.weight"], plain.start["conv2.weight"])
