"""The means over seeds that MLflow is told of, and the ways to them."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from fake_sweeps import STARTED, result

from orchestrator.tracking.about import environment, facts
from orchestrator.tracking.aggregate import aggregate_params, aggregate_points, cell_of
from orchestrator.tracking.links import compare_path, pareto
from orchestrator.tracking.record import course_points, run_name


def trial(seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    return result(f"t{seed}", seed=seed, metrics={"accuracy/test": accuracy, "macs": 100}, **changes)


def test_means_intervals_and_counts() -> None:
    failed = result("t3", "failed", seed=3)
    found = {p.key: p for p in aggregate_points([trial(0, 0.8), trial(1, 0.9), trial(2, 1.0), failed])}
    assert found["accuracy/test"].value == pytest.approx(0.9)
    # the deviation is 0.1, the t value of two degrees of freedom 4.3027
    assert found["ci95/accuracy/test"].value == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert (found["macs"].value, "ci95/macs" in found) == (100, False)
    assert (found["seeds"].value, found["trials/without_ticket"].value) == (3, 1)
    assert {p.step for p in found.values()} == {3}
    assert {p.milliseconds for p in found.values()} == {(STARTED + 7) * 1000}
    assert next(iter(found)) == "accuracy/test", "what MLflow's comparison begins with"


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = {p.key: p.value for p in aggregate_points([trial(0, 0.8)])}
    assert found == {"accuracy/test": 0.8, "macs": 100, "seeds": 1, "trials/without_ticket": 0}


def test_the_params_are_those_that_all_seeds_share() -> None:
    params = aggregate_params([trial(0, 0.8), trial(1, 0.9)])
    assert "seed" not in params
    assert params["method"] == "random"
    assert params["label"] == "random-smart"
    assert params["ticket.ratio"] == "smart"


def test_a_proposal_has_no_cell() -> None:
    assert cell_of(trial(0, 0.8)) == ("convnet", "random-smart", 0.9)
    assert cell_of(trial(0, 0.8, search=7)) is None


@pytest.mark.parametrize(
    ("row", "several", "seed", "name"),
    [
        ({"label": "hybrid-smart", "sparsity": 0.95, "seed": 2}, False, True, "hybrid-smart s95 seed2"),
        ({"label": "hybrid-smart", "sparsity": 0.995, "seed": 2}, True, True, "net hybrid-smart s99.5 seed2"),
        ({"label": "dense", "sparsity": 0.0, "seed": 0}, False, True, "dense seed0"),
        ({"label": "snip", "sparsity": 0.9, "seed": 0}, False, False, "snip s90"),
        ({"label": "x" * 300, "sparsity": 0.9, "seed": 0}, False, False, "x" * 250),
    ],
)
def test_runs_have_names_that_people_read(row: dict[str, Any], several: bool, seed: bool, name: str) -> None:
    assert run_name({"model": "net", **row}, several, seed) == name


def run(name: str, **metrics: float) -> Any:
    return SimpleNamespace(info=SimpleNamespace(run_id=name), data=SimpleNamespace(metrics=metrics))


def test_the_pareto_set_is_what_no_other_beats() -> None:
    runs = [
        run("dense", **{"accuracy/test": 0.99, "macs": 100, "latency/ms/b1": 2}),
        run("good", **{"accuracy/test": 0.97, "macs": 50, "latency/ms/b1": 2}),
        run("beaten", **{"accuracy/test": 0.96, "macs": 50, "latency/ms/b1": 2}),
        run("fast", **{"accuracy/test": 0.90, "macs": 60, "latency/ms/b1": 1}),
        run("failed"),
    ]
    assert [each.info.run_id for each in pareto(runs)] == ["dense", "good", "fast"]
    assert [each.info.run_id for each in pareto([run("a", **{"accuracy/test": 0.5}), *runs[:2]])] == ["dense"]
    assert pareto([run("failed")]) == []


def test_a_comparison_s_address_names_the_runs() -> None:
    path = compare_path(["a", "b"], "7")
    asked = dict(part.split("=", 1) for part in unquote(path).partition("?")[2].split("&"))
    assert (json.loads(asked["runs"]), json.loads(asked["experiments"])) == (["a", "b"], ["7"])
    assert '"' not in path


def test_a_course_counts_the_epochs_of_all_stages() -> None:
    events = [
        {"time": 1.0, "begin": "k", "run": "r"},
        {"time": 2.0, "epoch": 1, "loss/train": 2.0, "accuracy/val": 0.1, "lr": 0.1, "stage": "a", "step": 5},
        {"time": 3.0, "stage": "b"},
        {"time": 4.0, "epoch": 1, "loss/train": 1.0, "system/cpu_utilization_percentage": 50.0},
    ]
    assert [tuple(point) for point in course_points(events)] == [
        ("course/accuracy/val", 0.1, 2000, 1), ("course/loss/train", 2.0, 2000, 1),
        ("course/loss/train", 1.0, 4000, 2), ("system/cpu_utilization_percentage", 50.0, 4000, 2),
    ]  # fmt: skip


def test_the_sweep_says_where_and_of_what_source_it_ran() -> None:
    hosts = [trial(0, 0.8), trial(1, 0.8, host={"hostname": "there", "device": "gpu", "threads": 2})]
    assert facts(hosts)["host.hostname"] == "here, there"
    assert facts(hosts)["version.torch"] == "2.15"
    plan = {"environment": {"command": "jackpot run x", "user": "me", "git_commit": "abc", "git_dirty": True}}
    assert environment(plan) == {
        "mlflow.source.name": "jackpot run x", "mlflow.source.type": "LOCAL", "mlflow.user": "me",
        "mlflow.source.git.commit": "abc", "git.dirty": "true",
    }  # fmt: skip
    assert environment({}) == {}
