"""`benchmarks/search.py`: the arms on made-up images, and the arithmetic of its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
import search
import search_arms
from search_arms import Bench, Proposal


class Here(Executor):
    """Runs at once, in this process."""

    def submit(self, call, /, *arguments, **named):
        future = Future()
        future.set_result(call(*arguments, **named))
        return future


def spec(*objectives):
    return {
        "name": "arms",
        "data": {"name": "fake", "shape": [1, 8, 8], "classes": 3, "train": 60, "test": 12},
        "model": {"name": "convnet", "width": 0.25},
        "recipe": {"epochs": 1, "batch": 27, "lr": 0.05},
        "search": {"method": "hybrid", "sparsity": 0.9, "trials": 5, "seed": 3, "objectives": list(objectives)},
        "latency": {"enabled": False},
        "tracking": {"enabled": False},
    }


def started(tmp_path, *objectives):
    """A bench and two warm starts, run as Jackpot's sweep would."""
    bench = Bench(spec(*objectives), tmp_path, Here(), "run")
    sources = ("erk", "lamp")
    trials = [bench.ground.proposal(n, {"ratio": source}, bench.target) for n, source in enumerate(sources)]
    return bench, [bench.proposal(s, bench.start(t).result()) for s, t in zip(sources, trials, strict=True)]


@pytest.mark.parametrize("objectives", [["accuracy/val"], ["accuracy/val", "macs"]])
def test_arms_spend_the_same_trials_from_the_same_start_and_go_on_from_disk(tmp_path, objectives):
    bench, warm = started(tmp_path, *objectives)
    assert [sum(each.counts) for each in warm] == [bench.keep] * 2
    arms = (search_arms.penalised, search_arms.simplex)
    found = [arm(bench, warm) for arm in arms]
    assert [len(each) for each in found] == [5, 5]
    assert all(each[:2] == warm and len(each[0].values) == len(objectives) for each in found)
    assert [sum(each.counts) for each in found[1]] == [bench.keep] * 5
    assert len({tuple(each.counts) for each in found[1][2:]}) == 3  # each proposal its own draw
    # the seconds are a result's, so equal ones were not trained twice
    assert [arm(bench, warm) for arm in arms] == found


def test_what_misses_the_budget_pays_ten_points_of_accuracy_a_point_of_sparsity(tmp_path):
    bench, _ = started(tmp_path, "accuracy/val")
    assert sum(layer.weights for layer in bench.layers) == 36 + 288 + 1152 + 48
    assert bench.keep == 152
    result = bench.propose("own", 0, [36, 288, 100, 1]).result()
    kept = {row["name"]: row["kept"] for row in result["layers"]}
    assert kept == {"conv1": 36, "conv2": 288, "conv3": 100, "fc": 1}
    (value,) = bench.proposal("own", result).values
    assert value == pytest.approx(result["metrics"]["accuracy/val"] - 10 * (425 - 152) / 1524)
    assert "accuracy/test" not in result["metrics"]


def test_finalists_meet_the_budget(tmp_path):
    bench, _ = started(tmp_path, "accuracy/val")
    fitted = bench.fitted([36, 288, 100, 1])
    assert sum(fitted) == 152
    assert fitted == [13, 103, 36, 0]  # each times 152 / 425, by largest remainder
    fresh = search.retrained(bench, [fitted, fitted], [7, 8])
    assert [len(own.test) for own in fresh.values()] == [2]
    assert len(list((tmp_path / "trials").glob("*finalist*"))) == 2


def proposal(accuracy, *rest, counts=(1,), loss=0.5):
    return Proposal("", list(counts), None if accuracy is None else (accuracy, *rest), loss, 1.0)


def test_finalists_are_the_best_each_ratio_once():
    tried = [proposal(0.7, counts=[8]), proposal(None), proposal(0.9, counts=[2]), proposal(0.9, counts=[5], loss=0.4)]
    tried += [proposal(0.9, counts=[4]), proposal(0.6, counts=[6])]
    halves = lambda counts: [count // 2 for count in counts]  # noqa: E731  2 -> 1, 4 and 5 -> 2: one ratio
    assert search.finalists(tried, [True], halves, 3) == [[2], [1], [4]]
    assert search.finalists(tried, [True], halves, 1) == [[2]]


def test_curves():
    tried = [proposal(0.8), proposal(None), proposal(0.7), proposal(0.9)]
    assert search.curve(tried, [True]) == [0.8, 0.8, 0.8, 0.9]
    two = [proposal(0.9, 0.03), proposal(0.7, 0.01), proposal(0.85, 0.01)]
    # over accuracy 0.8 and 0.13 of the MACs: 0.1 x 0.1, then 0.05 x 0.02 more
    assert search.curve(two, [True, False]) == pytest.approx([0.010, 0.010, 0.011])


def test_a_ticket_that_diverged_counts_as_accuracy_0():
    done = {"status": "done", "metrics": {"accuracy/val": 0.5, "accuracy/test": 0.6, "macs": 2.0, "macs/dense": 8.0}}
    assert search.Fresh.of([done, {"status": "diverged", "metrics": {}}]) == search.Fresh([0.5, 0.0], [0.6, 0.0], 0.25)


def test_validation_chooses_and_test_judges():
    ratio = lambda val, test: {"counts": [1], "val": val, "test": test, "macs": 0.1}  # noqa: E731
    good, lucky = ratio([0.9, 0.9], [0.80, 0.84]), ratio([0.8, 0.8], [1.0, 1.0])
    other = ratio([0.9, 0.9], [0.82, 0.86])
    found = {
        "fresh_seeds": [100, 101],
        "finalists": {"a": [[lucky, good], [other]], "b": [[good], [good]], "c": [[good], [other]]},
        "formulas": {"erk": ratio([0.9, 0.9], [0.79, 0.81]), "smart": ratio([0.7, 0.7], [0.90, 0.90])},
        "spec": {"search": {"objectives": ["accuracy/val", "macs"]}},
    }
    verdict = search.judge(found)
    assert verdict["test"]["a"]["mean"] == pytest.approx(83)  # of 81 and 85, means over the two searches
    assert verdict["ahead"]["b"]["mean"] == pytest.approx(1)
    assert verdict["ahead"]["d"]["mean"] == pytest.approx(3)  # of 2 and 4
    assert verdict["ahead"]["d"]["half_width"] == pytest.approx(12.706, abs=1e-3)  # t(1) x 1
    assert verdict["ahead"]["best on test"]["mean"] == pytest.approx(-7)
    assert (verdict["winners"]["d"], verdict["winners"]["best on test"]) == ("erk", "smart")
    # 0.03 of the MACs below the reference, times accuracy over 0.8
    assert verdict["hypervolume_fresh"]["a"] == pytest.approx([0.2 * 0.03, 0.04 * 0.03])
    assert verdict["hypervolume_fresh"]["d"] == pytest.approx([0.1 * 0.03])
    # jackknifed by seed: (a) 0.11 and 0.13 (0.2 and 0.2; 0.02 and 0.06), (b) 0 and 0.04
    assert verdict["hypervolume_ahead"]["b"]["mean"] == pytest.approx(0.10 * 0.03)
    assert verdict["hypervolume_ahead"]["b"]["half_width"] == pytest.approx(12.706 * 0.01 * 0.03, rel=1e-3)


def test_images_are_linked_so_many_a_class(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "TRAIN", 2)
    for split in ("train", "test"):
        for name in ("3.jpg", "1.jpg", "2.jpg"):
            (tmp_path / "data" / split / "cat").mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / split / "cat" / name).write_bytes(b"")
    for _ in range(2):
        search.link_images(tmp_path / "data", tmp_path / "images")
    assert sorted(path.name for path in (tmp_path / "images/train/cat").iterdir()) == ["1.jpg", "2.jpg"]
    assert len(list((tmp_path / "images/test/cat").iterdir())) == 3


@pytest.mark.slow
def test_the_whole_script(tmp_path):
    script = Path(search.__file__)
    command = [sys.executable, str(script), "--folder", str(tmp_path / "work"), "--task", "digits98", "--trials", "4"]
    command += ["--seeds", "1", "--fresh", "2", "--epochs", "1", "--json", str(tmp_path / "found.json")]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "(a) Jackpot" in shown.stdout
    (found,) = json.loads((tmp_path / "found.json").read_text())
    assert {arm: [len(each) for each in own] for arm, own in found["searches"].items()} == {
        "a": [4],
        "b": [4],
        "c": [4],
    }
    assert set(found["ahead"]) == {"b", "c", "d", "best on test"}


@pytest.mark.slow
def test_the_headroom_of_a_network(tmp_path):
    script = Path(search.__file__).with_name("headroom.py")
    command = [sys.executable, str(script), "--folder", str(tmp_path), "--width", "0.25", "--epochs", "1"]
    command += ["--method", "random", "--generations", "1", "--population", "4", "--seeds", "1", "--fresh", "2"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "150"})
    assert shown.returncode == 0, shown.stderr
    assert "random, convnet" in shown.stdout
    assert "4 trainings" in shown.stdout
    rows = [line for line in shown.stdout.splitlines() if line.startswith("│")]
    assert {row.split("│")[1].strip() for row in rows} >= {"uniform", "erk", "lamp", "magnitude", "searched"}
