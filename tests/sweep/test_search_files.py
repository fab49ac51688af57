"""What a search leaves in its folder: made-up results, a real plan, no Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from filled_searches import FORMULAS, SEARCH, Filled
from optuna.trial import TrialState

from orchestrator.engine.files import read_sealed
from orchestrator.spec.models import Spec
from orchestrator.sweep.search_files import summary, write_all, write_ratios


@pytest.fixture
def filled(make_spec: Callable[..., Spec], tmp_path: Path) -> Callable[..., Filled]:
    def make(folder: str = "sweep", **search: Any) -> Filled:
        return Filled(make_spec(methods=[], search=SEARCH | search), tmp_path / folder)

    return make


# The summary


def test_the_summary_says_what_was_searched(filled: Callable[..., Filled]) -> None:
    said = filled().fill().summary
    assert {key: said[key] for key in ("schema", "model", "method", "sparsity", "seed", "concurrency", "trials")} == {
        "schema": 1, "model": "convnet-width0.25", "method": "hybrid", "sparsity": [0.9], "seed": 3, "concurrency": 2,
        "trials": 14,
    }  # fmt: skip
    assert (said["space"], said["sampler"]) == ({"name": "free"}, {"name": "random"})
    assert said["coordinates"] == {name: [-4, 0.0] for name in ("conv1", "conv2", "conv3", "fc")}
    assert said["objectives"] == [{"metric": "accuracy/val", "goal": "max"}, {"metric": "macs", "goal": "min"}]
    assert said["formulas"] == {name: f"hybrid-{name}" for name in FORMULAS}
    assert (said["over"], said["fidelity"]) == (None, None)


def test_the_summary_has_every_proposal_with_its_source_and_result(filled: Callable[..., Filled]) -> None:
    made = filled().fill(12, {10: {"status": "failed"}, 11: {"status": "diverged"}})
    said = made.summary["proposals"]
    assert [each["number"] for each in said] == list(range(14))
    assert [each["source"] for each in said] == [*FORMULAS, *["random"] * 9]
    assert [each["status"] for each in said] == [*["done"] * 10, "failed", "diverged", "missing", "missing"]
    assert said[6]["values"] == [0.9, 80.0]
    assert [each["values"] for each in said[10:]] == [None] * 4
    assert said[6]["params"] == made.search.decisions.proposals[6].point
    assert said[6]["trial"] == "convnet-width0.25_hybrid-search6_s90_seed3"
    assert {each["sparsity"] for each in said} == {0.9}


def test_the_front_and_its_hypervolume_over_the_worst_warm_start(filled: Callable[..., Filled]) -> None:
    said = filled().fill().summary
    assert said["pareto"] == [6, 8, 9]
    assert said["best"] == [8, 9]  # the two of three that add most
    # the warm starts: accuracy 0.5, 100 to 104 MACs
    assert said["hypervolume"]["reference"] == [0.5, 104.0]
    assert said["hypervolume"]["value"] == pytest.approx(0.4 * (104 - 80) + 0.3 * (80 - 50) + 0.1 * (50 - 10))


def test_one_objective_has_no_front(filled: Callable[..., Filled]) -> None:
    said = filled(objectives=["accuracy/val"]).fill().summary
    assert (said["pareto"], said["hypervolume"]) == ([], None)
    assert said["best"] == [6, 8]


def test_a_search_under_way_has_no_best_yet(filled: Callable[..., Filled]) -> None:
    said = filled().fill(9).summary
    assert said["best"] == []
    assert said["pareto"] == [6, 8]
    assert (said["finalists"], said["winner"]) == ([], None)


def test_the_winner_is_the_finalist_with_the_highest_mean(filled: Callable[..., Filled]) -> None:
    made = filled().fill()
    assert made.summary["finalists"] == [
        {"number": 8, "label": "hybrid-searched1", "place": 1},
        {"number": 9, "label": "hybrid-searched2", "place": 2},
    ]
    assert made.summary["winner"] is None
    made.finish({"hybrid-searched1": (0.9, 0.5), "hybrid-searched2": (0.75, 0.8)})  # means 0.7 and 0.775
    assert made.summary["winner"] == "hybrid-searched2"


def test_no_finalists_no_formulas_and_no_winner(filled: Callable[..., Filled]) -> None:
    said = filled(finalists={"best": 0}).fill().summary
    assert (said["finalists"], said["formulas"], said["winner"]) == ([], {}, None)
    assert said["best"] == [8]


# Which coordinate matters


def test_importances_take_ten_results(filled: Callable[..., Filled]) -> None:
    assert summary(filled("few").fill(9).search, whole=True)["importances"] == [{}, {}]
    first, second = summary(filled("enough").fill().search, whole=True)["importances"]
    for found in (first, second):
        assert found.keys() == {"conv1", "conv2", "conv3", "fc"}
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) >= 0


def test_results_that_are_all_alike_show_no_importance(
    filled: Callable[..., Filled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filled_searches.FRONT", {})
    accuracy, macs = summary(filled().fill().search, whole=True)["importances"]
    assert accuracy == {}
    assert macs


def test_a_short_summary_leaves_out_what_takes_seconds(filled: Callable[..., Filled]) -> None:
    assert filled().fill().summary["importances"] == []


# The study


def test_the_study_opens_with_every_proposal(filled: Callable[..., Filled]) -> None:
    made = filled().fill(12, {10: {"status": "failed"}, 11: {"status": "diverged"}})
    study = made.study
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["accuracy/val", "macs"]
    wanted = [*[TrialState.COMPLETE] * 10, TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]
    assert [trial.state for trial in study.trials] == wanted
    assert study.trials[6].values == [0.9, 80.0]
    assert study.trials[6].params == made.search.decisions.proposals[6].point
    assert study.trials[6].user_attrs == {
        "trial": "convnet-width0.25_hybrid-search6_s90_seed3", "source": "random", "sparsity": 0.9
    }  # fmt: skip
    assert {trial.number for trial in study.best_trials} == {6, 8, 9}


def test_one_that_was_stopped_at_a_rung_is_pruned_in_the_study(filled: Callable[..., Filled]) -> None:
    rungs = [{"epochs": 0.0, "accuracy": 0.25}, {"epochs": 1.0, "accuracy": 0.5}]
    dropped = {7: {"status": "dropped", "rungs": rungs}}
    one = filled("one", objectives=["accuracy/val"]).fill(14, dropped)
    trial = one.study.trials[7]
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {0: 0.25, 1: 0.5})
    assert one.summary["proposals"][7]["rungs"] == rungs
    assert one.study.best_trial.number == 6
    two = filled("two").fill(14, dropped)
    assert two.study.trials[7].state is TrialState.PRUNED


def test_a_study_is_written_anew(filled: Callable[..., Filled]) -> None:
    made = filled()
    assert len(made.study.trials) == len(made.search.trials) == 5
    made.fill()
    assert len(made.study.trials) == 14


def test_all_files_are_written_and_no_other(filled: Callable[..., Filled]) -> None:
    made = filled().fill()
    write_all(made.search)
    assert read_sealed(made.folder.path / "search" / "summary.json")["importances"] != []
    assert (made.folder.path / "ratios" / "best.json").exists()
    assert sorted(path.name for path in (made.folder.path / "search").iterdir()) == [
        "decisions.jsonl", "study.db", "summary.json"
    ]  # fmt: skip


# The ratios


def test_the_best_ratios_meet_the_budget_in_any_spec(filled: Callable[..., Filled]) -> None:
    made = filled().fill()
    assert made.ratio_files == ["best.json", "pareto-6.json", "pareto-8.json", "pareto-9.json"]
    assert made.kept("best.json") == made.kept("pareto-8.json") == made.proposed(8)
    assert made.kept("pareto-9.json") == made.proposed(9)
    assert sum(made.kept("pareto-6.json")) == made.search.ground.kept(Decimal("0.9"))


def test_the_winners_ratios_take_the_place_of_the_best_proposals(filled: Callable[..., Filled]) -> None:
    made = filled().fill().finish({"hybrid-searched1": (0.5, 0.5), "hybrid-searched2": (0.75, 0.75)})
    write_ratios(made.search)
    assert made.kept("best.json") == made.proposed(9) != made.proposed(8)


def test_a_formula_that_is_the_best_is_written_as_ratios(
    filled: Callable[..., Filled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filled_searches.FRONT", {1: (0.9, 1.0)})
    made = filled().fill()
    assert made.ratio_files == ["best.json", "pareto-1.json"]
    assert made.kept("best.json") == made.search.ground.formula("erk", Decimal("0.9"))


def test_ratios_that_an_earlier_run_left_go(filled: Callable[..., Filled]) -> None:
    made = filled().fill(7)
    before = made.kept("best.json") if "best.json" in made.ratio_files else []
    assert before == made.proposed(6)
    stale = made.folder.path / "ratios" / "pareto-99.json"
    stale.write_text("{}")
    assert made.ratio_files == ["best.json", "pareto-6.json"]
    assert not stale.exists()


def test_without_a_result_there_are_no_ratios(filled: Callable[..., Filled]) -> None:
    made = filled()
    (made.folder.path / "ratios").mkdir()
    (made.folder.path / "ratios" / "best.json").write_text("{}")
    assert made.ratio_files == []


def test_a_ratio_that_cannot_be_said_leaves_no_file_of_an_earlier_one(
    filled: Callable[..., Filled], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of filter_prune without ratios, whose own counts are no proportions."""
    made = filled().fill()
    write_ratios(made.search)
    monkeypatch.setattr(made.search, "options", lambda number: {})
    assert made.ratio_files == []


def test_the_files_are_plain_json(filled: Callable[..., Filled]) -> None:
    made = filled().fill()
    write_ratios(made.search)
    content = json.loads((made.folder.path / "ratios" / "best.json").read_text())
    assert list(content) == ["conv1", "conv2", "conv3", "fc"]
    assert all(0 < ratio <= 1 for ratio in content.values())
