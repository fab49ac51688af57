"""The checklist: a sweep that meets all of it, and one spoilt in each place."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from checked_sweeps import SPEC, good, judged, noisy_record, spoilt, trial, without
from reports import result, sweep

from orchestrator.report.checklist import HEAD, LEFT, checklist, section, summary, table
from orchestrator.report.place import Place
from orchestrator.report.text import markdown

FIRST = "first_snip_s0.5_seed0"


def failing(items: dict) -> dict[str, str]:
    return {name: item.remedy for name, item in items.items() if item.state == "fail"}


def test_a_good_sweep_meets_it() -> None:
    items = judged(good())
    assert failing(items) == {}
    assert {name for name, item in items.items() if item.state != "pass"} == {
        "top-5 accuracy where there are 100 classes or more", "validation images where something steers",
    }  # fmt: skip
    assert all(item.found and not item.remedy for item in items.values())
    cost = items["cost of the whole procedure logged"].found
    assert cost == "mean epochs of training from 10 (dense) to 20 (one_shot), 2 times as much; FLOPs logged"
    assert summary(list(items.values())) == "21 of 21 demands that apply are met, 0 not"


SPOILT: list[tuple[str, list[dict[str, Any]], str]] = [
    ("at least 3 seeds", without(lambda r: r["seed"] == 2), "`jackpot run` of the spec again"),
    ("at least 5 operating points", without(lambda r: r["sparsity"] == 0.5),
     "sparsities: [0.5, 0.75, 0.875, 0.9375, 0.96875]"),
    ("at least 3 pairs", without(lambda r: r["model"] == "second"), "model: [first, second, {name: third, width: 2}, "),
    ("raw accuracy", without(lambda r: (r["method"], r["model"]) == ("dense", "third")), "methods: - dense"),
    ("baseline: random pruning, every", spoilt(lambda r: r["method"] == "random", options={"ratio": "smart"}),
     "methods: - {name: random, ratio: uniform}"),
    ("baseline: random pruning with", without(lambda r: r["check"] == "same_ratio_random" and r["arm"] == "snip"),
     "methods: - {name: snip, checks: [same_ratio_random]}"),
    ("baseline: magnitude pruning, gl", spoilt(lambda r: r["method"] == "one_shot", options={"ratio": "erk"}),
     "methods: - one_shot"),
    ("baseline: magnitude pruning with", without(lambda r: r["check"] == "same_ratio_magnitude"),
     "methods: - {name: snip, checks: [same_ratio_magnitude]}"),
    ("both compression", spoilt(lambda r: r["trial"] == FIRST,
     metrics={"accuracy/test": 0.9, "compression_ratio": 2.0, "cost/epochs": 10.0, "cost/train_flops": 1.0}), "old"),
    ("cost of the whole", spoilt(lambda r: r["trial"] == FIRST,
     metrics={"accuracy/test": 0.9, "compression_ratio": 2.0, "macs/speedup": 2.0, "cost/epochs": 9.0}), "old"),
    ("one recipe", spoilt(lambda r: r["trial"] == FIRST, params={"recipe.epochs": 10, "recipe.lr": 0.2}), "new folder"),
    ("test images used once", spoilt(lambda r: r["trial"] == FIRST, history=[{"accuracy/test": 0.9}]), "new folder"),
    ("exact sparsity", spoilt(lambda r: r["trial"] == FIRST, layers=[{"name": "c", "weights": 96, "kept": 49}]),
     "exact: true"),
    ("no layer collapsed", spoilt(lambda r: r["trial"] == FIRST, collapsed=["conv"]), "sparsities"),
    ("hardware", spoilt(lambda r: r["seed"] == 2, host={"hostname": "b", "device": "H100", "threads": 1}), "one kind"),
    ("library versions", spoilt(lambda r: r["seed"] == 2, versions={"torch": "3"}), "one version"),
    ("latency", spoilt(lambda r: r["seed"] == 2, latency=[noisy_record()]), "latency: {seconds: 5}"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "remedy"), SPOILT, ids=[name for name, *_ in SPOILT])
def test_what_is_spoilt_fails_alone_with_its_remedy(name: str, rows: list, remedy: str) -> None:
    found = failing(judged(rows))
    assert [each for each in found if each.startswith(name)] == list(found)
    assert remedy in "".join(found.values())


def test_what_failed_or_was_not_run_is_counted() -> None:
    gone = good()[-1]["trial"]
    error = {"type": "E", "message": "", "traceback": ""}
    rows = [*good()[:-2], {**good()[-2], "status": "failed", "metrics": {}, "error": error}]
    items = judged(rows, [gone])
    assert items["every planned trial has a result"].found == (
        f"1 not run, 1 failed or blocked: {good()[-2]['trial']}, {gone}"
    )
    assert items["failed and diverged trials shown, not dropped"].found.startswith("1 failed: counted in the tables")


def test_missing_seeds_are_named_in_yaml_that_keeps_those_there() -> None:
    spec = SPEC.replace("[0, 1, 2]", "[1]")
    remedy = judged(without(lambda r: r["seed"] != 1), spec=spec)["at least 3 seeds everywhere"].remedy
    assert yaml.safe_load(remedy) == {"seeds": [1, 0, 2]}


def test_points_are_counted_for_each_ticket_type() -> None:
    rows = without(lambda r: r["method"] == "snip" and r["sparsity"] > 0.9)
    item = judged(rows)["at least 5 operating points, from 2 to 32 times fewer weights"]
    assert (item.state, item.found) == (
        "fail",
        "5: 2, 4, 8, 16, 32 times fewer; short: first snip, second snip, third snip",
    )


def test_a_random_ticket_of_the_same_ratio_is_a_control_too() -> None:
    rows = without(lambda r: r["check"] == "same_ratio_random" and r["arm"] == "one_shot")
    name = "baseline: random pruning with each ticket's layer-wise proportions"
    assert judged(rows)[name].found == "lacking for one_shot"
    same = [
        {**row, "label": "random-one_shot", "options": {"same_as": "one_shot"}}
        for row in rows
        if row["method"] == "random"
    ]
    assert judged(rows + same)[name].state == "pass"
    other = [{**row, "options": {"same_as": {"name": "one_shot", "rewind_to": "1ep"}}} for row in same]
    assert judged(rows + other)[name].state == "fail", "the proportions of another arm"


def test_a_rearranged_mask_on_initial_weights_is_a_random_ticket() -> None:
    rows = spoilt(lambda r: r["check"] == "same_ratio_random", check="rearrange")
    item = judged(rows)["baseline: random pruning with each ticket's layer-wise proportions"]
    assert item.found == "lacking for one_shot", "whose tickets need not start from the initial weights"


@pytest.mark.parametrize(
    ("data", "params", "state"),
    [("cifar100", {}, "fail"), ("fake", {"data.classes": 3}, "not applicable"), ("fake", {"data.classes": 100}, "fail"),
     ("image_folder", {}, "unknown"), ("digits", {}, "not applicable")],
)  # fmt: skip
def test_top_5_is_asked_for_of_many_classes(data: str, params: dict, state: str) -> None:
    rows = [{**row, "data": data, "params": row["params"] | params} for row in good()]
    assert judged(rows)["top-5 accuracy where there are 100 classes or more"].state == state


def test_a_search_has_seeds_and_sparsities_of_its_own() -> None:
    rows = without(lambda r: r["seed"] == 2)
    name, search = "at least 3 seeds everywhere", "search: {finalists: {best: 3, seeds: [100, 101]}}"
    assert judged(rows, spec=f"{search}\nmethods: []\nseeds: [0]")[name].remedy == (
        "search: {finalists: {seeds: [100, 101, 0]}}"
    )
    assert judged(rows, spec=f"{search}\nmethods: [snip]\nseeds: [0]")[name].remedy == (
        "seeds: [0, 1, 2]; search: {finalists: {seeds: [100, 101, 0]}}"
    )
    rows = without(lambda r: r["sparsity"] < 0.9)
    name = "at least 5 operating points, from 2 to 32 times fewer weights"
    remedy = judged(rows, spec=f"{search}\nmethods: []")[name].remedy
    assert remedy == "`methods` with sparsities: [0.5, 0.75, 0.875, 0.9375, 0.96875]; a search tries its own"


def test_one_weight_off_is_seen_in_a_large_network() -> None:
    for kept, state in ((5_000_000, "pass"), (5_000_001, "fail")):
        layers = [{"name": "c", "weights": 10_000_000, "kept": kept}]
        assert judged(spoilt(lambda r: r["trial"] == FIRST, layers=layers))["exact sparsity"].state == state


def test_a_control_is_asked_for_at_every_sparsity() -> None:
    rows = without(lambda r: r["check"] == "same_ratio_magnitude" and r["sparsity"] == 0.5)
    item = judged(rows)["baseline: magnitude pruning with each ticket's layer-wise proportions"]
    assert item.found == "lacking for snip"


def test_a_search_needs_validation() -> None:
    name, spec = "validation images where something steers", SPEC + "search: {method: hybrid}\n"
    assert judged(good(), spec=spec)[name].state == "pass"
    rows = spoilt(lambda r: r["trial"] == FIRST, metrics={"accuracy/test": 0.9})
    assert judged(rows, spec=spec)[name].remedy == "data: {name: digits, validation: 0.1}"


def test_tickets_of_filters_have_a_control_of_their_own_and_no_exact_budget() -> None:
    def filters(method: str, **options: Any) -> list[dict]:
        row = trial("net", "snip", None, 0.5, 0) | {"method": method, "label": method}
        return [row | {"options": {"target": "macs", **options}, "layers": [{"name": "c", "weights": 96, "kept": 90}]}]

    items = judged(filters("filter_prune"))
    assert items["exact sparsity"].state == "not applicable"
    assert items["baseline: random pruning, every layer alike"].state == "not applicable"
    assert items["baseline: filters or layers removed at random"].remedy == (
        "methods: - {name: random_filter, target: macs}"
    )
    both = filters("filter_prune") + filters("random_filter")
    assert judged(both)["baseline: filters or layers removed at random"].state == "pass"
    drawn = filters("filter_prune") + [row | {"label": "r"} for row in filters("filter_prune", criterion="random")]
    assert judged(drawn)["baseline: filters or layers removed at random"].state == "pass"
    elsewhere = filters("filter_prune") + filters("random_filter", target="latency")
    assert judged(elsewhere)["baseline: filters or layers removed at random"].state == "fail"


def test_nothing_tested_nothing_judged() -> None:
    assert checklist([], ["a"], "") == []
    assert checklist(sweep({("a", 0.9): [None]}), [], "name: x") == []
    assert list(section([], Place())) == []


def test_it_bears_results_that_say_little() -> None:
    items = checklist([result("a", 0.9, 0, 0.9)], [], "")
    states = {item.name: item.state for item in items}
    assert states["one recipe for all methods"] == "unknown"
    assert ", 1 cannot be told" in summary(items)


def test_the_page_says_each_state_in_words() -> None:
    items = checklist(without(lambda r: r["seed"] == 2), [], SPEC)
    shown = "".join(section(items, Place()))
    assert re.findall(r'<td class="text">(pass|fail|not applicable|unknown)</td>', shown) == [i.state for i in items]
    assert "20 of 21 demands that apply are met, 1 not" in shown
    assert {len(row) for row in table(items)} == {len(HEAD)}
    assert [HEAD[i] for i in LEFT] == list(HEAD), "all are words, and fold"


def test_markdown_ends_with_it() -> None:
    items = checklist(good(), [], SPEC)
    shown = markdown(good(), demands=items)
    assert "### checklist\n\n21 of 21 demands that apply are met, 0 not.\n\n| demand | met |" in shown
    assert "| no layer collapsed | pass | none in 279 trials |  |" in shown
    assert "checklist" not in markdown(good())
