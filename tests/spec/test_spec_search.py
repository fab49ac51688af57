"""The section `search` of a spec: what it may say, and what a user reads where it is wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from methods.step import Step
from orchestrator.spec import dump, load, schema
from orchestrator.spec.reading import read
from orchestrator.spec.search import Objective, Search

BASE: dict[str, Any] = {"name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 2}}
SEARCH: dict[str, Any] = {"method": "hybrid", "sparsity": 0.95}
FULL: dict[str, Any] = {
    "method": {"name": "hybrid", "rewind_to": "1ep"},
    "sparsity": [0.9, 0.98],
    "objectives": ["accuracy/val", {"metric": "macs", "goal": "min"}],
    "space": {"name": "mixture", "of": ["erk", "smart", "lamp"]},
    "bounds": {"conv1": [0.1, 1], "fc": [0.05, 0.5]},
    "sampler": {"name": "nsga2", "population_size": 20},
    "trials": 40,
    "seed": 3,
    "concurrency": 4,
    "max_hours": 1.5,
    "warm_starts": ["erk", "lamp", "old/ratios.json"],
    "fidelity": {"rungs": ["0ep", "1ep"], "reduction": 4},
    "finalists": {"best": 2, "seeds": [100, 101]},
}
KEYS = (
    "method, sparsity, objectives, space, bounds, sampler, trials, seed, seeds, concurrency, max_hours, warm_starts, "
    "fidelity, finalists"
)
METRICS = (
    "accuracy/val, sparsity/global, compression_ratio, macs/speedup, loss/val, macs, size/sparse_mb, "
    "size/compressed_mb, latency/speedup/bN, latency/ms/bN, memory/peak_mb/bN (N: images of a batch)"
)


def searched(**changes: Any) -> Search:
    search = load({**BASE, "search": SEARCH | changes}).require().search
    assert search is not None
    return search


def test_a_method_and_a_budget_are_enough() -> None:
    search = searched()
    assert (search.method.name, search.sparsity, search.trials) == ("hybrid", [Decimal("0.95")], 60)
    assert [(o.metric, o.up) for o in search.objectives] == [("accuracy/val", True)]
    assert (search.space.name, search.sampler.name) == ("polynomial", "tpe")
    assert (search.warm_starts, search.fidelity, search.finalists.best) == (None, None, 3)


def test_all_keys_are_read() -> None:
    search = searched(**FULL)
    assert search.sparsity == [Decimal("0.9"), Decimal("0.98")]
    assert (search.space.options, search.sampler.options) == (
        {"of": ["erk", "smart", "lamp"]}, {"population_size": 20}
    )  # fmt: skip
    assert search.bounds == {"conv1": (0.1, 1.0), "fc": (0.05, 0.5)}
    assert search.fidelity is not None
    assert search.fidelity.rungs == (Step(Decimal(0), "ep"), Step(Decimal(1), "ep"))


@pytest.mark.parametrize("section", [SEARCH, FULL], ids=["short", "full"])
def test_a_search_comes_back_from_what_is_written_out(tmp_path: Path, section: dict[str, Any]) -> None:
    spec = load({**BASE, "search": section}).require()
    file = tmp_path / "again.yaml"
    file.write_text(dump(spec))
    again = load(file)
    assert again.report() == []
    assert again.require() == spec


@pytest.mark.parametrize(
    ("metric", "goal", "up", "batch"),
    [
        ("accuracy/val", None, True, None),
        ("loss/val", None, False, None),
        ("macs", None, False, None),
        ("macs/speedup", None, True, None),
        ("latency/ms/b64", None, False, 64),
        ("latency/speedup/b1", None, True, 1),
        ("memory/peak_mb/b8", None, False, 8),
        ("macs", "max", True, None),
        ("accuracy/val", "min", False, None),
    ],
)
def test_the_goal_is_what_is_good_of_a_metric(metric: str, goal: Any, up: bool, batch: int | None) -> None:
    objective = Objective(metric=metric, goal=goal)
    assert (objective.up, objective.batch) == (up, batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": 95}, "sparsity: expected a number below 1, found 95; write 0.95 for 95 % removed"),
        ({"sparsity": 0}, "sparsity: expected a number above 0, found 0"),
        ({"sparsity": [0.98, 0.9]},
         "sparsity: a range goes from the least to the most; write [0.9, 0.98], or one number"),
        ({"sparsity": [0.8, 0.9, 0.95]}, "sparsity: expected a list of at most 2, found a list"),
        ({"objectives": ["accuracy/test"]},
         "objectives[0]: accuracy/test must not steer a search: test is evaluated once, on the "
         "finalists; use accuracy/val"),
        ({"objectives": ["macs", {"metric": "loss/test"}]},
         "objectives[1].metric: loss/test must not steer a search: test is evaluated once, on the "
         "finalists; use loss/val"),
        ({"objectives": ["acuracy"]},
         f"objectives[0]: unknown metric 'acuracy'; did you mean 'accuracy/val'? known: {METRICS}"),
        ({"objectives": ["latency/ms/b"]}, f"objectives[0]: unknown metric 'latency/ms/b'; known: {METRICS}"),
        ({"objectives": ["macs", {"metric": "macs", "goal": "max"}]}, "objectives: macs stands twice; remove one"),
        ({"objectives": ["macs", "accuracy/val", "loss/val"]}, "objectives: expected a list of at most "
                                                               "2, found a list"),
        ({"objectives": []}, "objectives: expected a list of at least 1, found an empty list"),
        ({"objectives": [{"metric": "macs", "goal": "minimise"}]},
         "objectives[0].goal: unknown value 'minimise'; allowed: max, min"),
        ({"method": {"name": "hybrid", "ratio": "erk"}}, "method: ratio: is what is searched for; leave it out"),
        ({"method": {"name": "hybrid", "classifier_keep": 0.3}},
         "method: classifier_keep: is what is searched for; leave it out"),
        ({"method": {"name": "hybrid", "checks": ["rearrange"]}}, "method: checks go with `methods`; a "
                                                                  "search has none"),
        ({"finalists": {"seeds": [0, 1]}},
         "finalists.seeds: 0 is the search's own seed, on which the finalists were chosen; take another"),
        ({"finalists": {"seeds": [1, 1]}}, "finalists.seeds: 1 stands twice; remove one"),
        ({"bounds": {"fc": [0.5, 0.1]}}, "bounds: fc: goes from the least to the greatest keep ratio; "
                                         "write [0.1, 0.5]"),
        ({"bounds": {"fc": [0, 1.5]}}, "bounds.fc[1]: expected a number not above 1, found 1.5"),
        ({"trials": 0}, "trials: expected a number not below 1, found 0"),
        ({"concurrency": 0}, "concurrency: expected a number not below 1, found 0"),
        ({"max_hours": 0}, "max_hours: expected a number above 0, found 0"),
        ({"fidelity": {"rungs": ["1 epoch"]}},
         "fidelity.rungs[0]: '1 epoch' is no step: expected epochs like '10ep' or iterations like '500it'"),
        ({"fidelity": {"reduction": 1}}, "fidelity.reduction: expected a number not below 2, found 1"),
        ({"warm_starts": "erk"}, "warm_starts: expected a list, found the text 'erk'; write [erk]"),
        ({"space": {}}, "space.name: missing; a mapping here needs one"),
        ({"sampler": 3}, "sampler: expected a name, or a mapping with a name and options, found 3"),
        ({"finalist": {}}, f"finalist: unknown key; did you mean 'finalists'? known: {KEYS}"),
        ({"other": 1}, f"other: unknown key; known: {KEYS}"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_would_work(changes: dict[str, Any], message: str) -> None:
    (said,) = load({**BASE, "search": SEARCH | changes}).report()
    assert said.replace("spec: search: ", "spec: search.") == f"spec: search.{message}"


def test_the_line_of_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(
        "name: x\ndata: digits\nmodel: convnet\nrecipe: {epochs: 2}\nsearch:\n  method: hybrid\n  sparsity: 95\n"
        "  objectives:\n  - accuracy/val\n  - accuracy/test\n"
    )
    first, second = load(file).report()
    assert first.startswith(f"{file}:7: search.sparsity: expected a number below 1, found 95")
    assert second.startswith(f"{file}:10: search.objectives[1]: accuracy/test must not steer a search")


@pytest.mark.parametrize("section", [SEARCH, FULL, SEARCH | {"method": {"name": "lottery"}}])
def test_the_json_schema_takes_a_search_that_loads(section: dict[str, Any]) -> None:
    validator = Draft202012Validator(schema())
    validator.validate({**BASE, "search": section})
    validator.validate(read(dump(load({**BASE, "search": section}).require())).value)


@pytest.mark.parametrize(
    "changes",
    [
        {"sparsity": 1.5},
        {"sparsity": []},
        {"objectives": []},
        {"objectives": [{"metric": "macs", "goal": "up"}]},
        {"method": "hybird"},
        {"method": {"name": "hybrid", "rewind": "1ep"}},
        {"space": {}},
        {"trials": 0},
        {"fidelity": {"rungs": ["1 epoch"]}},
        {"finalist": {}},
    ],
)
def test_the_json_schema_refuses_what_does_not_load(changes: dict[str, Any]) -> None:
    assert not Draft202012Validator(schema()).is_valid({**BASE, "search": SEARCH | changes})


def test_a_warm_start_stands_once_and_a_range_has_two_ends() -> None:
    def said(**changes: Any) -> list[str]:
        return load({**BASE, "search": SEARCH | changes}).report()

    assert said(warm_starts=["erk", "erk"]) == ["spec: search.warm_starts: erk stands twice; remove one"]
    assert said(sparsity=[0.9, 0.9]) == ["spec: search.sparsity: both ends of the range are 0.9; write 0.9"]
