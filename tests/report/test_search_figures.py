"""The numbers in a search's plots."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from searches import FINALIST, PROPOSALS, proposal, searched, summary

from orchestrator.report import search_figures
from orchestrator.report.search_figures import history, importances, objectives, parallel, profile

TWO = [{"metric": "accuracy/val", "goal": "max"}, {"metric": "macs", "goal": "min"}]


def test_the_history_has_every_value_and_the_best_so_far(tmp_path: Path) -> None:
    figure = history(searched(tmp_path, summary(PROPOSALS), {}))
    assert figure is not None
    best, proposed, warm = figure["data"]
    assert (best["x"], best["y"]) == ([0, 1, 2, 3, 5], [90, 93, 93, 96, 96])
    assert (proposed["x"], proposed["y"], proposed["name"]) == ([2, 3, 5], [91, 96, 95], "proposed by tpe")
    assert (warm["x"], warm["y"], warm["text"]) == ([0, 1], [90, 93], ["uniform", "erk"])


def test_best_is_the_least_where_less_is_better(tmp_path: Path) -> None:
    rows = [proposal(i, [value]) for i, value in enumerate((5.0, 7.0, 3.0, 4.0))]
    figure = history(searched(tmp_path, summary(rows, objectives=[{"metric": "macs", "goal": "min"}]), {}))
    assert figure is not None
    assert figure["data"][0]["y"] == [5, 5, 3, 3]


def test_what_has_no_finite_value_is_in_no_plot(tmp_path: Path) -> None:
    rows = [
        proposal(0, [math.nan]),
        proposal(1, None),
        proposal(2, None, status="dropped"),
        proposal(3, [0.5], status="failed"),
    ]
    found = searched(tmp_path, summary(rows, best=[]), {})
    assert [draw(found) for draw in (history, objectives, importances, parallel, profile)] == [None] * 5


def test_two_objectives_and_their_front(tmp_path: Path) -> None:
    rows = [proposal(0, [0.9, 50.0], "erk"), proposal(1, [0.8, 20.0]), proposal(2, [0.7, 30.0])]
    found = searched(tmp_path, summary(rows, objectives=TWO, pareto=[0, 1]), {})
    figure = objectives(found)
    assert figure is not None
    proposed, warm, front = figure["data"]
    assert (proposed["x"], proposed["y"]) == ([20, 30], [80, 70])
    assert (warm["x"], warm["y"], warm["text"]) == ([50], [90], ["erk"])
    assert (front["x"], front["y"], front["customdata"]) == ([20, 50], [80, 90], [1, 0])
    assert objectives(searched(tmp_path / "one", summary(PROPOSALS), {})) is None


def test_importances_are_sorted_by_the_first_objective(tmp_path: Path) -> None:
    both = [{"a": 0.7, "b": 0.3}, {"a": 0.1, "b": 0.9}]
    figure = importances(searched(tmp_path, summary(PROPOSALS, objectives=TWO, importances=both), {}))
    assert figure is not None
    assert [(trace["y"], trace["x"]) for trace in figure["data"]] == [
        (["b", "a"], [0.3, 0.7]),
        (["b", "a"], [0.9, 0.1]),
    ]


def test_parallel_coordinates_hold_powers_of_ten(tmp_path: Path) -> None:
    figure = parallel(searched(tmp_path, summary([proposal(0, [0.9]), proposal(5, [0.8])]), {}))
    assert figure is not None
    conv, fc, value = figure["data"][0]["dimensions"]
    # kept of 100 in conv: 10 and 15; of 400 in fc: 15 and 10
    assert conv["values"] == pytest.approx([-1, math.log10(0.15)])
    assert fc["values"] == pytest.approx([math.log10(0.0375), math.log10(0.025)])
    assert (fc["range"], fc["ticktext"]) == ([-2, 0], ["1 %", "10 %", "100 %"])
    assert value["values"] == figure["data"][0]["line"]["color"] == [90, 80]


def test_a_deep_network_has_no_more_axes_than_plotly_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_figures, "MOST_AXES", 2)
    figure = parallel(searched(tmp_path, summary(PROPOSALS), {}))
    assert figure is not None
    assert [axis["label"] for axis in figure["data"][0]["dimensions"]] == ["conv", "validation accuracy, %"]


def test_the_profile_is_of_tested_tickets_or_else_of_proposals(tmp_path: Path) -> None:
    content = summary(PROPOSALS, best=[3], finalists=FINALIST)
    figure = profile(searched(tmp_path, content, {"hybrid-searched1": [0.9, 0.91]}))
    assert figure is not None
    lines = {trace["name"]: trace["y"] for trace in figure["data"]}
    assert lines == {
        "searched ratio 3": pytest.approx([20, 1.25]),  # 20 of 100, 5 of 400
        "uniform": pytest.approx([10, 3.75]),  # of proposal 0: 10 of 100, 15 of 400
        "erk": pytest.approx([11, 3.5]),
    }
    assert figure["layout"]["yaxis"]["type"] == "log"


def test_an_emptied_layer_stands_at_half_a_weight() -> None:
    assert search_figures.kept({"weights": 100, "kept": 0}) == 0.005
