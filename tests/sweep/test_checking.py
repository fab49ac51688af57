"""What is wrong with a search, as `jackpot validate` says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import faults
from orchestrator.spec.loading import load

BASE: dict[str, Any] = {"name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 4}}
SEARCH: dict[str, Any] = {"method": "hybrid", "sparsity": 0.95}
FILTERS: dict[str, Any] = {"method": "filter_prune", "sparsity": 0.5, "space": "free"}
ABLE = "random, one_shot, lottery, lr_rewinding, fine_tune, hybrid, filter_prune"
SAMPLERS = (
    "tpe, nsga2, nsga3, gp, cmaes, qmc, random, CmaEsSampler, NSGAIISampler, NSGAIIISampler, QMCSampler, "
    "RandomSampler, TPESampler, GPSampler"
)
LEFT = "below the 84 steps (4 epochs) that a ticket is trained"


def said(search: dict[str, Any], **sections: Any) -> list[str]:
    return faults(load({**BASE, **sections, "search": {**SEARCH, **search}}))


@pytest.mark.parametrize(
    "search",
    [
        {},
        *({"space": name} for name in ("free", "polynomial", "erk_power", "stages", "mixture")),
        {"space": {"name": "mixture", "of": ["erk", "smart"]}, "warm_starts": ["erk"]},
        {"sampler": {"name": "tpe", "n_startup_trials": 20}},
        {"sampler": "nsga2", "objectives": ["accuracy/val", "macs"]},
        {"sparsity": [0.9, 0.98], "objectives": ["accuracy/val", "sparsity/global"]},
        {"bounds": {"conv*": [0.001, 1], "fc": [0, 0.5]}, "space": "free"},
        {"method": {"name": "lottery", "rewind_to": "1ep"}, "fidelity": {"rungs": ["0ep", "1ep"]}},
        {**FILTERS, "objectives": ["accuracy/val", "latency/ms/b1"]},
    ],
)
def test_a_search_that_is_right(search: dict[str, Any]) -> None:
    assert said(search, latency={"enabled": True}) == []


@pytest.mark.parametrize(
    ("search", "message"),
    [
        # the method
        ({"method": "snip"}, f"method: snip takes no layer-wise ratios to search for; those that do: {ABLE}"),
        ({"method": {"name": "hybrid", "rewindto": 3}},
         "method: rewindto: unknown key; did you mean 'rewind_to'? known: ratio, ratios, "
         "classifier_keep, variant, rewind_to"),
        ({"method": {"name": "hybrid", "rewind_to": "9ep"}},
         "method: rewind_to: 9ep is not before the schedule's end, where a ticket has nothing left to train; rewind to "
         "an earlier step"),
        # the space
        ({"space": "polynomal"}, "space: unknown space 'polynomal'; did you mean 'polynomial'? known: "
                                 "free, polynomial, "
                                 "erk_power, stages, mixture"),
        ({"space": {"name": "polynomial", "degree": 1}}, "space.degree: unknown key; known: power, decay, classifier"),
        ({"space": {"name": "free", "low": 2}}, "space.low: expected a number below 0, found 2"),
        ({"space": {"name": "polynomial", "power": [2, 1]}},
         "space.power: expected a range [low, high] with low below high, got [2.0, 1.0]"),
        ({"space": {"name": "stages", "groups": ["conv*"]}},
         "space: groups: layer 'fc' matches none; expected exactly one pattern for each layer"),
        ({**FILTERS, "space": "polynomial"},
         "space: filter_prune takes proportions of filters, and polynomial goes by weights; choose free, stages"),
        ({**FILTERS, "space": "erk_power"},
         "space: filter_prune takes proportions of filters, and erk_power goes by weights; choose free, stages"),
        ({**FILTERS, "space": {"name": "stages", "base": "erk"}},
         "space.base: erk goes by the shape of weights, and filters have none; choose uniform"),
        ({"space": {"name": "polynomial", "power": [0, 900]}},
         "space.power: expected a range within -50 to 50, got [0.0, 900.0]"),
        # the sampler
        ({"sampler": "tpee"}, f"sampler: unknown sampler 'tpee'; did you mean 'tpe'? known: {SAMPLERS}"),
        ({"sampler": "GridSampler"},
         f"sampler: GridSampler does not search continuous coordinates; known: {SAMPLERS}"),
        ({"sampler": "cmaes", "objectives": ["accuracy/val", "macs"]},
         "sampler: cmaes cannot do two objectives; choose tpe, nsga2, nsga3, gp, qmc or random"),
        ({"sampler": {"name": "tpe", "n_startup_trials": "x"}},
         "sampler: tpe: '<' not supported between instances of 'int' and 'str'; mend its options, or choose tpe"),
        # the budget and the bounds
        ({"sparsity": 0.99999}, "sparsity: 0.99999 keeps none of the 23,824 prunable weights of convnet; lower it"),
        ({"bounds": {"*": [0, 0.02]}},  # 2 + 92 + 368 + 12
         "bounds: the layers may keep 4 to 474 of 23,824 weights, which are sparsities from 0.980104 to 0.999832, and "
         "1,191 are to be kept; widen the bounds or change the sparsity"),
        ({"bounds": {"con1": [0, 1]}},
         "bounds.con1: matches no layer; did you mean 'conv1'? layers: conv1, conv2, conv3, fc"),
        ({"bounds": {"conv1": [0.5, 1], "conv?": [0, 0.25]}},
         "bounds: conv1 is to keep at least 0.5 and at most 0.25; mend one of its bounds"),
        ({"bounds": {"conv1": [0, 0]}},
         "bounds: conv1 is to keep nothing, and a weight stays in each layer; set it above 0"),
        ({**FILTERS, "bounds": {"fc": [0, 1]}},
         "bounds: filter_prune takes proportions, which have no bounds; leave them out"),
        # the objectives
        ({"objectives": ["latency/ms/b8"]},
         "objectives[0]: latency/ms/b8 is not measured: latency.batches has 1, 64; add 8 there"),
        ({"objectives": ["accuracy/val", "latency/ms/b1"]},
         "objectives[1]: latency/ms/b1 is the same for every ticket of hybrid: masks alone make nothing faster; choose "
         "macs, or filter_prune as the method"),
        ({"objectives": ["sparsity/global", "accuracy/val"]},
         "objectives[0]: sparsity/global is the same for every proposal, at the sparsity 0.95; give sparsity a range "
         "[least, most]"),
        # the warm starts
        ({"warm_starts": ["lamp"]},
         "warm_starts: lamp: is said by the trained network, which the space polynomial does not follow; the spaces "
         "free and mixture do (of: [..., lamp])"),
        ({"warm_starts": ["erk"]},
         "warm_starts: erk: no point of the space polynomial gives these counts (the nearest keeps 47 weights in layer "
         "'conv1', where 108 are asked); the space free holds every distribution, and wider ranges (its options power, "
         "decay, classifier) more"),
        ({"warm_starts": ["nope"]},
         "warm_starts: 'nope' is no formula of hybrid, no file of ratios and no folder of a sweep with a search; "
         "formulas: uniform, erk, smart, lamp, magnitude"),
        ({"space": "mixture", "warm_starts": ["erk"]},
         "warm_starts: the space mixture is made from lamp, which is not among the warm_starts; add it there, or leave "
         "it out of the space's `of`"),
        ({"trials": 2},
         "trials: 2 leaves none to the sampler: the warm starts (uniform, smart) are tried first; set it above 2, or "
         "name fewer warm_starts"),
        # the fidelity
        ({"method": "fine_tune", "fidelity": {}},
         "fidelity: fine_tune trains its tickets itself, in one piece; leave fidelity out"),
        ({"fidelity": {}, "objectives": ["macs"]},
         "fidelity: stops trials by accuracy/val, which is no objective here; add it, or leave fidelity out"),
        ({"fidelity": {"rungs": ["0ep", "4ep"]}},
         f"fidelity.rungs: expected steps one after another, {LEFT}; found 0ep, 4ep"),
        ({"fidelity": {"rungs": ["2ep", "1ep"]}},
         f"fidelity.rungs: expected steps one after another, {LEFT}; found 2ep, 1ep"),
        ({"fidelity": {"rungs": ["1ep", "21it"]}},
         f"fidelity.rungs: expected steps one after another, {LEFT}; found 1ep, 21it"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_would_work(search: dict[str, Any], message: str) -> None:
    assert said(search) == [f"spec: search.{message}"]


def test_an_unknown_method_is_named_with_the_nearest() -> None:
    (line,) = said({"method": "hybird"})
    assert line.startswith("spec: search.method: unknown method 'hybird'; did you mean 'hybrid'? known: dense, random,")


def test_an_unknown_option_of_a_sampler_is_named_with_the_nearest() -> None:
    (line,) = said({"sampler": {"name": "tpe", "n_startup": 3}})
    assert line.startswith(
        "spec: search.sampler: n_startup: tpe has no such option; did you mean 'n_startup_trials'? known: "
    )
    assert "multivariate" in line
    assert "seed" not in line


def test_a_search_is_about_one_network() -> None:
    assert said({}, model=["convnet", "conv3"]) == [
        "spec: search: a search is about one network, and `model` names 2; keep one"
    ]


def test_validation_images_are_needed() -> None:
    data = {"name": "digits", "validation": 0}
    none = "validation images, and data.validation holds out none; set it to 0.1, say"
    assert said({}, data=data) == [f"spec: search.objectives[0]: accuracy/val needs {none}"]
    assert said({"objectives": ["macs"]}, data=data) == []


def test_a_latency_must_be_measured() -> None:
    search = {**FILTERS, "objectives": ["accuracy/val", "latency/ms/b1"]}
    assert said(search, latency={"enabled": False}) == [
        "spec: search.objectives[1]: latency/ms/b1 is not measured: latency.enabled is false; set it to true"
    ]
    assert said(search, latency={"batches": [8, 32]}) == [
        "spec: search.objectives[1]: latency/ms/b1 is not measured: latency.batches has 8, 32; add 1 there"
    ]


def test_a_file_of_another_networks_ratios_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(json.dumps({"conv1": 0.5}))
    assert said({"warm_starts": [str(file)]}) == [
        "spec: search.warm_starts: ratios: 'conv2' is missing; expected a keep ratio for each of conv1, "
        "conv2, conv3, fc"
    ]


def test_all_that_is_wrong_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(
        "name: x\ndata: digits\nmodel: convnet\nrecipe: {epochs: 4}\nsearch:\n"
        "  method: hybrid\n  sparsity: 0.95\n"
        "  objectives: [accuracy/val, latency/ms/b8]\n"
        "  bounds:\n    con1: [0, 1]\n"
        "  fidelity:\n    rungs: [0ep, 9ep]\n"
    )
    found = [line.split(": ")[:2] for line in faults(load(file))]
    assert found == [
        [f"{file}:8", "search.objectives[1]"],
        [f"{file}:10", "search.bounds.con1"],
        [f"{file}:12", "search.fidelity.rungs"],
    ]


def test_a_network_that_is_wrong_is_said_alone() -> None:
    (line,) = said({"space": "nope"}, model="resnet21")
    assert line.startswith("spec: model.name: unknown model 'resnet21'")


@pytest.mark.parametrize("warm_starts", [None, ["uniform", "erk"], []])
def test_a_budget_below_a_formulas_classifier_leaves_that_formula_out(warm_starts: list[str] | None) -> None:
    """smart keeps 0.3 of the classifier's 640 weights, 192, and 99.5 % leave 119."""
    from orchestrator.engine.plan import make_plan

    loaded = load({**BASE, "search": {**SEARCH, "sparsity": 0.995, "space": "free", "warm_starts": warm_starts}})
    assert faults(loaded) == []
    labels = {planned.trial.arm.label for planned in make_plan(loaded.require()).planned}
    assert {"hybrid-uniform", "hybrid-erk", "hybrid-lamp", "hybrid-magnitude"} <= labels
    assert "hybrid-smart" not in labels


def test_a_formula_that_was_asked_for_and_does_not_fit_is_refused() -> None:
    (line,) = said({"sparsity": 0.995, "space": "free", "warm_starts": ["smart"]})
    assert line.startswith("spec: search.warm_starts: ")
    assert "a classifier that keeps 0.3 of its 640 weights is over the budget of 119 weights" in line
