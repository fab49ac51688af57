"""Sweep folders with sealed results, as a finished sweep leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.engine.files import digest, read_sealed, write_sealed
from orchestrator.spec.models import Tracking
from orchestrator.tracking.aggregate import cell_of
from orchestrator.tracking.client import connect
from orchestrator.tracking.record import STATUSES
from orchestrator.tracking.runs import RESULT
from orchestrator.tracking.tracker import Tracker

STARTED = 1_700_000_000.0
DONE = "convnet_random_s90_seed0"
"""The first trial of a `sweep`."""


def result(trial: str, status: str = "done", **changes: Any) -> dict[str, Any]:
    """A result with every field, three epochs long."""
    history = [
        {"epoch": n, "loss/train": 1 / n, "accuracy/val": 0.3 * n, "lr": 0.1, "time": STARTED + 2 * n}
        for n in (1, 2, 3)
    ]
    error = {"type": "RuntimeError", "message": "out of memory", "traceback": "Traceback ...\nRuntimeError"}
    content = {
        "schema": 1, "trial": trial, "key": "ab" * 32, "status": status, "sweep": "tiny", "model": "convnet",
        "method": "random", "label": "random-smart", "arm": "random-smart", "check": None,
        "options": {"ratio": "smart"}, "sparsity": 0.9, "seed": 0, "data": "digits",
        "metrics": {"accuracy/test": 0.8, "accuracy/val": 0.9, "sparsity/global": 0.9, "macs": 1234},
        "layers": [{"name": "conv", "weights": 100, "kept": 10, "keep_ratio": 0.1}],
        "history": history, "params": {"recipe.epochs": 3, "recipe.lr": 0.1, "model.width": 2}, "error": None,
        "blocked_by": None, "started": STARTED, "ended": STARTED + 7, "attempts": 1,
        "host": {"hostname": "here", "device": "cpu", "threads": 1}, "versions": {"torch": "2.15"},
        "correct": "", "chain": [],
    }  # fmt: skip
    if status in ("failed", "blocked"):
        content |= {"metrics": {}, "layers": [], "history": []}
    if status == "failed":
        content["error"] = error
    if status == "blocked":
        content["blocked_by"] = "convnet_dense_seed0"
    return content | changes


def add(folder: Path, trial: str, status: str = "done", **changes: Any) -> None:
    """Write a trial's result, log and ticket into a sweep's folder."""
    place = folder / "trials" / trial
    write_sealed(place / "result.json", result(trial, status, **changes))
    (place / "log.txt").write_text("started\n")
    if status == "done":
        (place / "ticket.safetensors").write_bytes(b"ticket of " + trial.encode())


def sweep(folder: Path, trials: int) -> Path:
    """A sweep's folder with so many finished trials."""
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text("name: tiny\n")
    (folder / "results.csv").write_text("trial\n")
    for seed in range(trials):
        add(folder, f"convnet_random_s90_seed{seed}", seed=seed)
    return folder


def tracker(folder: Path, uri: str | None = None) -> Tracker:
    """As a new process would make it."""
    return Tracker(folder, "tiny", Tracking(uri=uri), patience=30)


def runs(uri: str, kind: str = "trial") -> dict[str, list[Any]]:
    """All active runs of a kind at an MLflow address: of trials by trial, of others by name."""
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: dict[str, list[Any]] = {}
    for run in client.search_runs(experiments, f"tags.`jackpot.kind` = '{kind}'"):
        found.setdefault(run.data.tags.get("jackpot.trial", run.info.run_name), []).append(run)
    return found


def assert_complete(folder: Path, uri: str) -> None:
    """Each result of a sweep stands in MLflow exactly once and whole, below the mean of its cell, and each mean once
    below one run of the sweep."""
    client = connect(uri)
    ((parent,),) = runs(uri, "sweep").values()
    found = runs(uri)
    results = {path.parent.name: read_sealed(path) for path in folder.glob("trials/*/result.json")}
    cells = assert_means(uri, parent, list(results.values()))
    assert {name: len(same) for name, same in found.items()} == dict.fromkeys(results, 1)
    for name, content in results.items():
        (run,) = found[name]
        assert run.info.status == STATUSES[content["status"]]
        assert (run.info.start_time, run.info.end_time) == (STARTED * 1000, content["ended"] * 1000)
        assert run.data.tags["mlflow.parentRunId"] == cells[cell_of(content)]
        assert run.data.tags[RESULT] == digest(content)
        assert run.data.metrics.keys() >= content["metrics"].keys()
        assert run.data.params["recipe.lr"] == str(content["params"]["recipe.lr"])
        losses = client.get_metric_history(run.info.run_id, "loss/train")
        assert [(point.step, point.value) for point in losses] == [
            (epoch["epoch"], epoch["loss/train"]) for epoch in content["history"]
        ]
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files == {"log.txt"} | EXTRA_FILES[content["status"]]
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"spec.yaml", "results.csv"}


def assert_means(uri: str, parent: Any, results: list[dict[str, Any]]) -> dict[Any, str]:
    """Each cell of the results has one run below the sweep's with the means over its trials; their ids by cell."""
    found = {(r.data.params["model"], r.data.params["label"], float(r.data.params["sparsity"])): r
             for same in runs(uri, "aggregate").values() for r in same}  # fmt: skip
    assert sum(map(len, runs(uri, "aggregate").values())) == len(found) == len({cell_of(r) for r in results})
    for cell, run in found.items():
        accuracies = [
            result["metrics"]["accuracy/test"]
            for result in results
            if cell_of(result) == cell and result["status"] == "done" and "accuracy/test" in result["metrics"]
        ]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics["seeds"] == sum(cell_of(r) == cell and r["status"] == "done" for r in results)
        if accuracies:
            assert abs(run.data.metrics["accuracy/test"] - sum(accuracies) / len(accuracies)) < 1e-12
        else:
            assert "accuracy/test" not in run.data.metrics
    return {cell: run.info.run_id for cell, run in found.items()}


EXTRA_FILES = {
    "done": {"ticket.safetensors", "layers.json"},
    "diverged": {"layers.json"},
    "failed": {"error.txt"},
    "blocked": set(),
}
