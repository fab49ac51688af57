"""Whole searches on a real Ray, a real MLflow database and real data."""

import io
import json
import os
import sqlite3

import optuna
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from methods.ratio_file import read_ratios
from orchestrator.api import results, run
from orchestrator.cli.app import app
from orchestrator.engine.files import read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import repeatable
from orchestrator.engine.status import epochs_trained, status
from orchestrator.sweep.collect import collect_alone
from orchestrator.sweep.study import Study

# one group: the tests that share the one Ray run in one process
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("cluster")]

SPEC = {
    "name": "search",
    "data": "digits",
    "model": {"name": "convnet", "width": 0.25},
    "recipe": {"epochs": 2},
    "latency": {"enabled": False},
    "tracking": {"enabled": False},
}
SEARCH = {
    "method": "hybrid",
    "sparsity": 0.9,
    "space": "free",
    "warm_starts": ["uniform", "lamp"],
    "trials": 6,
    "finalists": {"best": 1, "seeds": [7]},
}


def sweep(folder, search=None, **changes):
    """Run SPEC with a search; the outcome, what was said, the results by trial."""
    said = io.StringIO()
    spec = {**SPEC, "search": SEARCH | (search or {}), **changes}
    outcome = run(spec, out=folder, console=Console(file=said, width=200))
    return outcome, said.getvalue(), results(folder).set_index("trial")


def trained(folder):
    """Epochs that were ever trained in a sweep's folder."""
    return epochs_trained([SweepFolder(folder).events(path.name) for path in folder.glob("trials/*")])


def test_a_search_runs_is_tracked_grows_and_nothing_is_trained_twice(tmp_path):
    folder = tmp_path / "search"
    outcome, said, table = sweep(folder, tracking={"enabled": True})
    assert outcome.exit_code == 0, said
    assert list(table["status"]) == ["done"] * 12  # 6 proposals, 5 formulas, a finalist
    proposals = table[table["search"].notna()]
    assert sorted(proposals["search"]) == list(range(6))
    assert proposals["accuracy/test"].isna().all()
    assert table[table["search"].isna()]["accuracy/test"].notna().all()
    assert {round(value * 1608) for value in table["sparsity/global"]} == {1447}
    # the dense networks of two seeds, six tickets, and six more on the fresh seed
    assert trained(folder) == table["cost/epochs_new"].sum() == 2 * (2 + 6 + 6)

    study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder}/search/study.db")
    assert [trial.user_attrs["trial"] for trial in study.trials] == list(proposals.sort_values("search").index)
    assert [trial.value for trial in study.trials] == list(proposals.sort_values("search")["accuracy/val"])
    database = sqlite3.connect(folder / "mlflow.db")
    runs = database.execute(
        "select status, count(*) from runs join tags using (run_uuid) where lifecycle_stage = 'active' "
        "and key = 'jackpot.kind' and value != 'aggregate' group by 1"
    ).fetchall()
    assert runs == [("FINISHED", 13)]
    assert database.execute("select count(*) from params where key = 'search.number'").fetchone() == (6,)
    assert "searched ratio" in (folder / "report.html").read_text()
    now = status(SweepFolder(folder))
    assert (now["trials"], now["counts"]["done"]) == (12, 12)
    assert now["epochs_distinct"] == now["epochs_trained"]

    # again: nothing runs; its ratios in another sweep: the same ticket as the finalist's
    before = trained(folder)
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps({**SPEC, "search": SEARCH, "tracking": {"enabled": True}}))
    shown = CliRunner().invoke(app, ["run", str(spec), "--out", str(folder)])
    assert shown.exit_code == 0, shown.output
    assert "convnet-width0.25, 90 % removed: searched ratios against the formulas" in shown.output
    (verdict,) = [line for line in shown.output.splitlines() if line.startswith("search:")]
    assert "the winner, by mean validation accuracy" in verdict
    where = min(os.path.relpath(folder), str(folder), key=len)
    assert f"ratios:  {where}/ratios, files that `ratios:` takes in any spec" in shown.output
    assert trained(folder) == before
    assert repeatable(results(folder).set_index("trial")).equals(repeatable(table))
    ratios = {name: float(ratio) for name, ratio in read_ratios(str(folder / "ratios" / "best.json")).items()}
    other = run(
        {**SPEC, "name": "other", "methods": [{"name": "hybrid", "ratios": ratios}], "sparsities": [0.9], "seeds": [7]},
        out=tmp_path / "other",
        console=Console(file=io.StringIO()),
    )
    (ticket,) = results(other.folder).to_dict("records")
    assert ticket["accuracy/test"] == table.loc["convnet-width0.25_hybrid-searched1_s90_seed7"]["accuracy/test"]

    # two proposals more: the first six stay, and their dense network, which gc must not take while it is needed
    collect_alone(SweepFolder(folder))
    outcome, said, more = sweep(folder, {"trials": 8, "finalists": {"best": 0}})
    assert outcome.exit_code == 0
    assert sorted(more["search"].dropna()) == list(range(8))
    assert list(more.loc[proposals.index]["accuracy/val"]) == list(proposals["accuracy/val"])


def test_one_proposal_at_a_time_holds_the_other_slot_and_searches_the_same_way(tmp_path):
    search = {"concurrency": 1, "warm_starts": ["uniform"], "trials": 4, "finalists": {"best": 1, "seeds": [7]}}
    outcome, said, table = sweep(tmp_path / "one", search)
    assert outcome.exit_code == 0, said
    begun = table[table["search"].notna()].sort_values("search")
    assert list(begun["started"])[1:] >= list(begun["ended"])[:-1]  # each after the one before
    _, _, again = sweep(tmp_path / "other", search, concurrency=1)
    assert repeatable(again).equals(repeatable(table))


def test_cheap_rungs_stop_what_is_behind(tmp_path, monkeypatch):
    told, tell = {}, Study.tell
    monkeypatch.setattr(Study, "tell", lambda study, n, how, *at: (told.update({n: how}), tell(study, n, how, *at))[1])
    search = {
        "trials": 10,
        "fidelity": {"rungs": ["0ep", "1ep"], "reduction": 2},
        "finalists": {"best": 1, "seeds": [7]},
    }
    folder = tmp_path / "rungs"
    outcome, said, table = sweep(folder, search, recipe={"epochs": 3})
    assert outcome.exit_code == 0, said
    proposals = table[table["search"].notna()]
    counts = proposals["status"].value_counts().to_dict()
    assert counts["dropped"] >= 2
    assert counts["dropped"] + counts["done"] == 10
    dropped = [SweepFolder(folder).result(trial) for trial in proposals.index[proposals["status"] == "dropped"]]
    assert all(1 <= len(result["rungs"]) <= 2 for result in dropped)
    done = [SweepFolder(folder).result(trial) for trial in proposals.index[proposals["status"] == "done"]]
    assert all([rung["epochs"] for rung in result["rungs"]] == [0.0, 1.0] for result in done)
    assert all(result["rungs"][1]["accuracy"] == result["history"][0]["accuracy/val"] for result in done)
    # the sampler has learnt from what was stopped, as one made anew from these results does
    ways = {result["search"]: [rung["accuracy"] for rung in result["rungs"]] for result in dropped}
    assert {n: list(how.rungs) for n, how in told.items() if n in ways} == {n: ways[n] for n in told if n in ways}
    assert ways.keys() & told.keys()
    # the finalist and the formulas pass by
    assert set(table[table["search"].isna()]["status"]) == {"done"}
    fidelity = read_sealed(folder / "search" / "summary.json")["fidelity"]
    assert [rung["reached"] for rung in fidelity["rungs"]][::2] == [10, counts["done"]]
    spent = sum(rung["epochs_spent"] for rung in fidelity["rungs"])
    assert trained(folder) == spent + 2 * 3 + 6 * 3  # and two dense networks, five formulas, the finalist
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder}/search/study.db")
    states = pd.Series([trial.state.name for trial in study.trials]).value_counts().to_dict()
    assert states == {"COMPLETE": counts["done"], "PRUNED": counts["dropped"]}
    # what was stopped stands: nothing runs again
    before = trained(folder)
    assert sweep(folder, search, recipe={"epochs": 3})[0].exit_code == 0
    assert trained(folder) == before


def test_the_ratios_of_filters_are_searched_for_two_objectives(tmp_path):
    search = {
        "method": {"name": "filter_prune", "batches": 1},
        "sparsity": 0.4,
        "space": "stages",
        "warm_starts": None,
        "trials": 5,
        "objectives": ["accuracy/val", "macs"],
        "finalists": {"best": 2, "seeds": [7]},
    }
    folder = tmp_path / "filters"
    outcome, said, table = sweep(folder, search, recipe={"epochs": 1}, model={"name": "resnet8", "width": 0.5})
    assert outcome.exit_code == 0, said
    assert set(table["status"]) == {"done"}
    assert (table["sparsity/global"] >= 0.4).all()
    assert table["macs"].nunique() > 3
    summary = read_sealed(folder / "search" / "summary.json")
    assert summary["pareto"]
    assert summary["hypervolume"]["value"] >= 0
    assert {path.name for path in (folder / "ratios").iterdir()} >= {
        f"pareto-{n}.json" for n in summary["pareto"] if n > 1
    }
