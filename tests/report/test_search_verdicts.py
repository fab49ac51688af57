"""What is concluded from a search: the finalists against the formulas, on fresh seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from searches import FINALIST, PROPOSALS, folder_of, proposal, searched, summary

from orchestrator.engine.folder import SweepFolder
from orchestrator.report import search
from orchestrator.report.search_verdicts import WINNER, brief, head, rows, sentences
from orchestrator.report.table import search_tables
from orchestrator.report.text import latex, markdown

DONE = summary(PROPOSALS, best=[3], finalists=FINALIST)
BEST = [0.93, 0.94, 0.95]
# minus uniform: 3.0, 2.8, 3.2 points; mean 3, standard error 0.2 / sqrt(3), t(0.975, 2) = 4.303: ± 0.497
# t = 25.98; with two degrees of freedom p = 1 - t / sqrt(t^2 + 2) = 0.001478; times 2 by Holm
# minus ERK: 5, 4, 4 points; t = 4.333 / 0.3333 = 13, p = 1 - 13 / sqrt(171) = 0.00587, times 1
TESTED = {"hybrid-searched1": BEST, "hybrid-uniform": [0.9, 0.912, 0.918], "hybrid-erk": [0.88, 0.9, 0.91]}


def test_a_finalist_is_judged_against_the_best_formula_and_all_pairs_are_corrected(tmp_path: Path) -> None:
    found = searched(tmp_path, DONE, TESTED)
    assert sentences(found) == [
        "searched ratio 3 beats the best formula uniform by +3.00 ± 0.50 points (3 seeds, p by Holm 0.003)"
    ]
    assert [(pair.other, pair.adjusted) for pair in found.pairs] == [
        ("hybrid-uniform", pytest.approx(0.002956, rel=1e-3)),
        ("hybrid-erk", pytest.approx(0.005866, rel=1e-3)),
    ]


def test_the_table_tells_the_score_that_steered_from_the_one_that_counts(tmp_path: Path) -> None:
    found = searched(tmp_path, DONE, TESTED)
    assert head(found)[3] == "test accuracy, %"
    assert head(found)[-2:] == ["validation accuracy, % on the same seeds", "the search's validation accuracy, %"]
    assert rows(found) == [
        ["hybrid-searched1", "searched ratio 3", "95 % removed", "94.00 ± 2.48 (3)",
         "+3.00 ± 0.50 (3)", "0.003", "ahead", "95.00", "96.00"],
        ["hybrid-uniform", "uniform", "95 % removed", "91.00 ± 2.28 (3)", "", "", "the best formula", "92.00", "90.00"],
        ["hybrid-erk", "erk", "95 % removed", "89.67 ± 3.79 (3)", "", "", "", "90.67", "93.00"],
    ]  # fmt: skip


def test_the_table_has_the_other_objective_of_the_tested_trials(tmp_path: Path) -> None:
    both = [{"metric": "accuracy/val", "goal": "max"}, {"metric": "cost/epochs", "goal": "min"}]
    found = searched(tmp_path, DONE | {"objectives": both}, TESTED)
    assert head(found)[-3] == "cost/epochs"
    assert [row[-3] for row in rows(found)] == ["10", "10", "10"]
    ((_, table),) = search_tables(found.folder)
    words = [str(column.header) for column in table.columns if column.justify == "left"]
    assert words == ["method", "ratio", "verdict on accuracy"]


@pytest.mark.parametrize(
    ("accuracy", "epochs", "said"),
    [
        # uniform has 91.00 % after 10 epochs, ERK 89.67 % after 8
        (0.92, 10, "no formula dominates it"),
        (0.85, 7, "no formula dominates it"),
        (0.85, 9, "erk dominates it"),
        (0.89, 10, "uniform, erk dominate it"),
        (0.90, 9, "no formula dominates it"),
        (0.90, 10, "uniform dominates it"),
        (0.91, 10, "no formula dominates it"),  # equal to uniform
    ],
)
def test_two_objectives_are_judged_together(tmp_path: Path, accuracy: float, epochs: int, said: str) -> None:
    both = [{"metric": "accuracy/val", "goal": "max"}, {"metric": "cost/epochs", "goal": "min"}]
    own = {"hybrid-searched1": [accuracy - 0.01, accuracy, accuracy + 0.01]}
    costs = {"hybrid-searched1": epochs, "hybrid-erk": 8}
    found = searched(tmp_path, DONE | {"objectives": both}, TESTED | own, costs)
    (sentence,) = sentences(found)
    assert " the best formula uniform in accuracy" in sentence
    assert sentence.endswith(f"; {said} in accuracy and cost/epochs, by the means")


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ([0.85, 0.86, 0.87], "searched ratio 3 is behind the best formula uniform: -5.00 ± 0.50 points"),
        ([0.92, 0.90, 0.93], "searched ratio 3 is not told apart from the best formula uniform: +0.67 ± "),
        ([0.95], "searched ratio 3 minus the best formula uniform: +5.00 points; one seed: nothing can be concluded"),
        ([0.91, 0.922, 0.928], "+1.00 points, the same difference for every seed: no interval can be had"),
        ([None, 0.942, 0.938], "+2.50 ± 6.35 points (2 of 3 seeds"),
        ([None, None], "searched ratio 3 has no test accuracy (2 diverged)"),
        ([], "searched ratio 3 has no test accuracy (its trials are missing; `jackpot run` goes on with them)"),
    ],
)
def test_other_ends(tmp_path: Path, best: list[float | None], said: str) -> None:
    (sentence,) = sentences(searched(tmp_path, DONE, TESTED | {"hybrid-searched1": best}))
    assert said in sentence


def test_a_search_without_finalists_or_formulas_concludes_nothing(tmp_path: Path) -> None:
    failed = [proposal(0, None, status="failed"), proposal(1, None, status="blocked")]
    for i, content in enumerate((summary([]), summary(failed, best=[]))):
        found = searched(tmp_path / str(i), content, {})
        assert sentences(found) == [
            "no finalists yet: whether a searched ratio beats the formulas cannot be said before they are tested"
        ]
        assert search_tables(found.folder) == []
    (sentence,) = sentences(searched(tmp_path / "alone", DONE, {"hybrid-searched1": BEST}))
    assert sentence == "searched ratio 3: no formula was tested on its seeds, nothing can be concluded"


def test_a_formula_that_was_not_tested_is_named(tmp_path: Path) -> None:
    tested = {label: values for label, values in TESTED.items() if label != "hybrid-erk"}
    (sentence,) = sentences(searched(tmp_path, DONE, tested))
    assert sentence.endswith("formulas without a test accuracy: erk")


def test_each_finalist_of_a_front_has_its_sentence(tmp_path: Path) -> None:
    both = [*FINALIST, {"number": 5, "label": "hybrid-searched2"}]
    found = searched(tmp_path, DONE | {"finalists": both}, TESTED | {"hybrid-searched2": [0.93, 0.94, 0.95]})
    first, second = sentences(found)
    assert first.startswith("searched ratio 3 beats")
    assert second.startswith("searched ratio 5 beats")
    assert "p by Holm 0.0059" in first, "four pairs now: 4 x 0.001478"


def test_the_winner_is_marked_and_alone_has_its_sentence_beside_the_table(tmp_path: Path) -> None:
    both = [*FINALIST, {"number": 5, "label": "hybrid-searched2"}]
    tested = TESTED | {"hybrid-searched2": [0.93, 0.94, 0.95]}
    found = searched(tmp_path / "one", DONE | {"finalists": both, "winner": "hybrid-searched2"}, tested)
    assert [row[:2] for row in rows(found)][:2] == [
        ["hybrid-searched1", "searched ratio 3"],
        ["hybrid-searched2", "searched ratio 5, the winner"],
    ]
    (won,) = brief(found)
    assert won.startswith(f"{WINNER}searched ratio 5 beats")
    unsettled = searched(tmp_path / "none", DONE | {"finalists": both}, tested)
    assert brief(unsettled) == sentences(unsettled)
    costs = [{"metric": "accuracy/val", "goal": "max"}, {"metric": "cost/epochs", "goal": "min"}]
    front = DONE | {"finalists": both, "winner": "hybrid-searched2", "objectives": costs}
    assert len(brief(searched(tmp_path / "two", front, tested))) == 2


def test_a_winner_that_was_a_warm_start_is_no_find(tmp_path: Path) -> None:
    began = [proposal(0, [0.9], "uniform"), proposal(1, [0.8])]
    finalists = [{"number": 0, "label": "hybrid-searched1"}, {"number": 1, "label": "hybrid-searched2"}]
    said = summary(began, finalists=finalists, winner="hybrid-searched1")
    found = searched(tmp_path, said, {"hybrid-searched1": [0.9, 0.91], "hybrid-uniform": [0.9, 0.91]})
    (sentence,) = brief(found)
    start = "searched ratio 0 (a warm start: uniform, and none of the sampler's is better)"
    assert sentence.startswith(f"{WINNER}{start} is not told apart")
    assert rows(found)[0][:2] == ["hybrid-searched1", "searched ratio 0, the winner, a warm start: uniform"]


def test_the_table_of_several_sparsities_names_each(tmp_path: Path) -> None:
    other, denser = {"number": 9, "label": "hybrid-searched2"}, proposal(9, [0.97], sparsity=0.9)
    said = DONE | {"finalists": [*FINALIST, other], "proposals": [*PROPOSALS, denser]}
    found = searched(tmp_path, said, TESTED)
    ((title, table),) = search_tables(found.folder)
    assert (title, len(table.columns)) == ("net: searched ratios against the formulas, on fresh seeds", 9)


def test_the_search_s_own_scores_are_in_no_comparison_of_methods(tmp_path: Path) -> None:
    found = searched(tmp_path, DONE, TESTED)
    assert found.network.labels == ["hybrid-erk", "hybrid-searched1", "hybrid-uniform"]


def test_the_text_and_the_terminal_say_the_same(tmp_path: Path) -> None:
    found = searched(tmp_path, DONE, TESTED)
    plain, tex = markdown([], searched=found), latex([], searched=found)
    assert "### net: search of ratios" in plain
    assert "| hybrid-searched1 | searched ratio 3 | 95 % removed | 94.00 ± 2.48 (3) | +3.00 ± 0.50 (3) |" in plain
    assert "- searched ratio 3 beats the best formula uniform by +3.00 ± 0.50 points" in plain
    assert "94.00 $\\pm$ 2.48 (3) & +3.00 $\\pm$ 0.50 (3) & 0.003 & ahead & 95.00 & 96.00 \\\\" in tex
    assert "% searched ratio 3 beats the best formula uniform by" in tex
    ((name, table),) = search_tables(found.folder)
    assert name == "net, 95 % removed: searched ratios against the formulas, on fresh seeds"
    assert table.row_count == 3


def test_no_search_and_a_damaged_summary_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of(tmp_path, DONE, TESTED)
    path = folder.path / "search" / "summary.json"
    path.write_text(path.read_text().replace("polynomial", "polynomical"))
    assert search.read(folder) is None
    assert "checksum" in caplog.text
    path.unlink()
    assert search.read(SweepFolder(tmp_path)) is None
    assert search_tables(folder) == []
    assert sentences(None) == []
