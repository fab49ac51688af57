from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sweeps import DONE, result

from orchestrator.engine.files import write_sealed
from orchestrator.tracking import sweep_files
from orchestrator.tracking.aggregate import aggregate_params
from orchestrator.tracking.sweep_files import SweepFiles

Make = Callable[..., Path]


def test_a_plan_is_read_again_only_when_it_has_changed(make_sweep: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = make_sweep(0), list[Path]()
    whole = sweep_files.read_sealed
    monkeypatch.setattr(sweep_files, "read_sealed", lambda path: read.append(path) or whole(path))
    files = SweepFiles(folder)
    assert (files.plan(), files.planned_keys(), read) == ({}, None, [])
    for run in ("first", "other"):
        write_sealed(folder / "plan.json", {"run": run, "planned": [{"trial": "a", "key": run}]})
        assert [files.plan()["run"] for _ in range(3)] == [run] * 3
        assert files.planned_keys() == {"a": run}
    assert len(read) == 2


def test_what_is_no_trial_is_passed_over(make_sweep: Make) -> None:
    folder = make_sweep(1)
    (folder / "trials" / "stray").write_text("a file")
    (folder / "trials" / "begun").mkdir()
    (folder / "trials" / "begun" / "events.jsonl").write_text("")
    files = SweepFiles(folder)
    before = files.results()
    assert list(before) == [DONE]
    assert list(files.begun(ended=before)) == ["begun"]
    write_sealed(folder / "trials" / DONE / "result.json", result(DONE))  # the same again
    assert files.results()[DONE] != before[DONE]


def test_a_cell_shares_what_reads_alike() -> None:
    shared = {"nan": float("nan"), "one": 1, "lr": 0.1}
    other = {"nan": float("nan"), "one": True, "lr": 0.1, "more": 2}
    params = aggregate_params([result("a", params=shared), result("b", params=other)])
    assert params["nan"] == "nan"
    assert params["lr"] == "0.1"
    assert params.keys().isdisjoint({"one", "more"})
