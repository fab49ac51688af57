"""The results of a sweep's folder: which count, and their table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from trial_runs import only, plugin_that, run_all

from orchestrator.engine.columns import BATCH, COLUMNS, RUNTIME
from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SCHEMA, FolderError, SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.results import BEFORE, METRICS, planned_results, results, run_status, write_csv
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]
PluginWriter = Callable[..., str]


def test_the_table_has_a_row_for_every_planned_trial(
    make_spec: MakeSpec, folder: SweepFolder, plugin: PluginWriter
) -> None:
    name = plugin(plugin_that("raise ValueError('a, b')"))
    spec = make_spec(methods=["random", name], seeds=[0, 1])
    run_all(folder, spec)
    assert run_status(folder) == "FAILED"
    trial = next(trial for trial, _ in planned_results(folder) if "random" in trial)
    (folder.trial(trial) / "result.json").unlink()
    assert run_status(folder) == "FAILED"
    table = results(folder)
    assert list(table["trial"]) == sorted(table["trial"])
    assert list(table["status"]).count("missing") == 1
    assert set(table.loc[table["method"] == name, "error"]) == {"ValueError: a, b"}
    path = write_csv(folder)
    lines = path.read_text().splitlines()
    assert len(lines) == 5
    assert lines[0] == (
        "trial,status,model,method,label,arm,check,search,options,sparsity,seed,data,key,"
        + ",".join(METRICS)
        + ",collapsed,error,"
        "blocked_by,started,ended,waited_seconds,host"
    )


def test_a_ticket_of_an_earlier_result_goes_with_it(make_spec: MakeSpec, folder: SweepFolder) -> None:
    trial = only(run_all(folder, make_spec()))["trial"]
    assert (folder.trial(trial) / "ticket.safetensors").exists()
    assert only(run_all(folder, make_spec(recipe={"lr": 1e30})))["status"] == "diverged"
    assert not (folder.trial(trial) / "ticket.safetensors").exists()


def test_a_result_of_an_earlier_plan_does_not_count(make_spec: MakeSpec, folder: SweepFolder) -> None:
    run_all(folder, make_spec())
    assert run_status(folder) == "FINISHED"
    changed = make_plan(make_spec(recipe={"lr": 0.01}))
    write_sealed(folder.path / "plan.json", changed.summary(lambda key: False) | {"run": "run"})
    ((_, result),) = planned_results(folder)
    assert result is None
    assert run_status(folder) == "KILLED"


def test_a_damaged_result_may_be_set_aside_by_two_processes(folder: SweepFolder, monkeypatch: Any) -> None:
    path = folder.trial("one") / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(FileNotFoundError))
    assert folder.result("one") is None


def as_described(name: str) -> str:
    """A column's name with the placeholders of its description."""
    return re.sub(r"/b\d+$", f"/b{BATCH}", name).replace("/compact/", f"/{RUNTIME}/")


def test_every_column_is_described_and_every_description_has_its_column(
    make_spec: MakeSpec, folder: SweepFolder
) -> None:
    spec = make_spec(
        methods=["random", {"name": "plasticity", "at": "1ep", "epochs": 1}],
        latency={"enabled": True, "batches": [1, 4], "seconds": 0.01, "runtimes": ["dense", "compact"]},
    )
    run_all(folder, spec)
    written = list(results(folder).columns)
    described = {column.name: column for column in COLUMNS}
    assert len(described) == len(COLUMNS)
    names = [as_described(name) for name in written]
    assert set(names) == set(described)
    assert list(dict.fromkeys(name for name in names if BATCH not in name and name != BEFORE)) == [
        name for name in described if BATCH not in name and name != BEFORE
    ], "in the order of the file"
    for name, values in results(folder).dropna(axis="columns", how="all").items():
        kind = described[as_described(str(name))].type
        assert (kind in ("number", "integer")) == pd.api.types.is_numeric_dtype(values), name


def test_a_result_of_a_newer_jackpot_is_refused_by_name_and_stays(make_spec: MakeSpec, folder: SweepFolder) -> None:
    result = only(run_all(folder, make_spec()))
    path = folder.trial(result["trial"]) / "result.json"
    write_sealed(path, result | {"schema": SCHEMA + 1})
    with pytest.raises(FolderError, match=rf"{path}: a newer Jackpot .* schema {SCHEMA + 1}; .* {SCHEMA} .*Upgrade"):
        planned_results(folder)
    assert path.exists()
    write_sealed(path, {key: value for key, value in result.items() if key != "schema"})
    assert planned_results(folder)[0][1] is not None
