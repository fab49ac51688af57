"""A sweep's summary: what MLflow shows as the description of its run, and which tickets it registers."""

from pathlib import Path

from reports import result, sweep

from orchestrator.engine.files import read_sealed
from orchestrator.report.summary import summary, winners, write_summary
from orchestrator.report.sweeps import Sweep

RESULTS = sweep({("dense", 0.0): [0.99, 0.99], ("good", 0.9): [0.90, 0.92], ("poor", 0.9): [0.5, None]})


def made(results: list, missing: tuple[str, ...] = (), path: Path = Path()) -> Sweep:
    return Sweep("mine", "name: mine\n", results, list(missing), path=path)


def test_it_says_what_was_compared_how_to_rerun_and_the_verdicts() -> None:
    text = summary(made(RESULTS, ("net_left_s0.9_seed0",)))
    for part in (
        "7 trials: 1 diverged, 5 done, 1 not run yet.",
        "- methods: dense, good, poor\n- sparsities: 90 % removed\n- seeds: 0, 1\n- data: digits",
        "| good |  | 91.00 ± 12.71 (2) |",
        "90 % removed: good 91.00 ± 12.71 % (2 seeds); +40.00 points over poor, one seed: nothing can be concluded",
        "`jackpot run spec.yaml`",
    ):
        assert part in text, part


def test_names_are_no_markdown() -> None:
    assert "\\<b\\>" in summary(made([result("<b>", 0.9, 0, 0.5)]))


def test_a_sweep_without_results_has_a_summary() -> None:
    assert summary(made([], ("a", "b"))).startswith("2 trials: 2 not run yet.\n")


def test_the_winner_s_trial_is_the_best_of_its_seeds_on_validation() -> None:
    rows = [
        result("good", 0.9, seed, test, metrics={"accuracy/test": test, "accuracy/val": val})
        for seed, test, val in ((0, 0.9, 0.8), (1, 0.95, 0.7), (2, 0.85, 0.9))
    ]
    (won,) = winners(made([*rows, result("poor", 0.9, 0, 0.1)]))
    assert (won["trial"], won["label"], won["seed"], won["sparsity"]) == ("net_good_s0.9_seed2", "good", 2, 0.9)
    assert won["accuracy/test"] == 0.85, "its own accuracy, not the mean"
    assert "seed 2" in won["said"]


def test_both_files_are_written(tmp_path: Path) -> None:
    write_summary(made(RESULTS, path=tmp_path))
    assert (tmp_path / "summary.md").read_text() == summary(made(RESULTS))
    assert [row["label"] for row in read_sealed(tmp_path / "winners.json")["winners"]] == ["good"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["summary.md", "winners.json"]
