"""What MLflow is told of a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_searches import PROPOSALS, add_search, proposal, write_summary
from fake_sweeps import result, runs, tracker

from orchestrator.tracking import client as clients
from orchestrator.tracking.record import params_of, search_points, tags_of
from orchestrator.tracking.where import own_database

Make = Callable[..., Path]
COUNTS = {"done": 2, "diverged": 0, "dropped": 1, "failed": 1, "blocked": 0, "missing": 0}


def parent_of(folder: Path) -> Any:
    """The sweep's own run."""
    ((parent,),) = runs(own_database(folder), "sweep").values()
    return parent


def files(folder: Path, run: Any, path: str | None = None) -> set[str]:
    """All files of a run."""
    client, found = clients.connect(own_database(folder)), set()
    for file in client.list_artifacts(run.info.run_id, path):
        found |= files(folder, run, file.path) if file.is_dir else {file.path}
    return found


def test_the_sweep_s_run_holds_the_search_s_files_and_numbers(make_sweep: Make) -> None:
    folder = make_sweep(0)
    add_search(folder)
    assert tracker(folder).sync(status="FINISHED").message is None
    parent = parent_of(folder)
    assert files(folder, parent) == {
        "spec.yaml", "results.csv", "search/search.html", "search/summary.json", "search/study.db",
        "ratios/best.json", "ratios/pareto/1.json",
    }  # fmt: skip
    counts = {f"search/trials/{status}": count for status, count in COUNTS.items()}
    assert parent.data.metrics == counts | {"search/best/accuracy/val": 0.95, "search/best/macs": 400.0}


def test_the_study_and_the_numbers_wait_for_the_end(make_sweep: Make) -> None:
    folder = make_sweep(0)
    add_search(folder)
    following = tracker(folder)
    for status in ("RUNNING", None):
        following.sync(status=status)
    parent = parent_of(folder)
    assert "search/study.db" not in files(folder, parent)
    assert "search/search.html" in files(folder, parent)
    assert parent.data.metrics == {}
    following.sync(status="KILLED")
    assert parent_of(folder).data.metrics["search/best/macs"] == 400.0
    assert "search/study.db" in files(folder, parent)


def test_numbers_are_logged_once_and_again_when_the_search_went_on(make_sweep: Make) -> None:
    folder = make_sweep(0)
    add_search(folder)
    for _ in range(2):
        assert tracker(folder).sync(status="FINISHED").message is None
    longer = [*PROPOSALS, proposal(4, "done", [0.94, 300.0]), proposal(5, "done", [0.97, 450.0])]
    write_summary(folder, longer, best=[5])
    assert tracker(folder).sync(status="FINISHED").message is None
    parent = parent_of(folder)
    history = clients.connect(own_database(folder)).get_metric_history(parent.info.run_id, "search/best/accuracy/val")
    assert [(point.step, point.value) for point in history] == [(4, 0.95), (6, 0.97)]
    assert parent.data.metrics["search/trials/done"] == 4


def test_a_pass_cut_off_before_the_tag_writes_the_same_points(
    make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sweep(0)
    add_search(folder)
    connect = clients.connect

    class Cut:
        def __init__(self, client: Any) -> None:
            self.client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self.client, name)

        def set_tag(self, run: str, tag: str, value: str) -> None:
            if tag == "mlflow.jackpot.search":
                raise ConnectionError("cut off")
            self.client.set_tag(run, tag, value)

    monkeypatch.setattr(clients, "connect", lambda uri: Cut(connect(uri)))
    assert "cut off" in (tracker(folder).sync(status="FINISHED").message or "")
    monkeypatch.setattr(clients, "connect", connect)
    assert tracker(folder).sync(status="FINISHED").message is None
    history = connect(own_database(folder)).get_metric_history(parent_of(folder).info.run_id, "search/best/macs")
    assert [(point.step, point.value) for point in history] == [(4, 400.0)]


def test_a_proposal_s_run_says_which_it_was_and_a_dropped_one_is_finished(make_sweep: Make) -> None:
    folder = make_sweep(0)
    add_search(folder)
    tracker(folder).sync()
    ((run,),) = runs(own_database(folder)).values()
    assert run.info.status == "FINISHED"
    assert run.data.tags["search.number"] == run.data.params["search.number"] == "2"
    assert run.data.params["search.power"] == "1.5"
    for other in (result("t"), result("t", search=None)):
        assert "search.number" not in params_of(other) | tags_of(other)
    assert tags_of(result("t", search=0))["search.number"] == "0"


def test_a_search_without_a_best_one_has_counts_alone() -> None:
    summary = {"proposals": [proposal(0, "failed")], "best": [], "objectives": [{"metric": "macs"}]}
    points = {point.key: point.value for point in search_points(summary, 7)}
    assert points == dict.fromkeys((f"search/trials/{status}" for status in COUNTS), 0) | {"search/trials/failed": 1}
