"""Whole sweeps on a real Ray, a real MLflow database and real data."""

import io
import json
import os
import shutil
import signal
import sqlite3
import threading
import time

import pandas as pd
import pytest
from chain import CHAIN
from rich.console import Console

from orchestrator.api import results, run
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.results import repeatable
from orchestrator.engine.source import source_hash
from orchestrator.engine.status import epochs_trained
from orchestrator.spec.loading import load
from orchestrator.sweep import worker
from orchestrator.sweep.driver import Driver

# one group: the tests that share the one Ray run in one process
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("cluster")]

# Starting workers takes most of these tests' time: each sweep that trains is made to show several things.

SPEC = {
    "name": "sweep",
    "data": "digits",
    "model": "convnet",
    "recipe": {"epochs": 2},
    "methods": ["dense", "random", "smallest", {"name": "lottery", "fraction": 0.5}],
    "sparsities": [0.7],
    "seeds": [0],
    "tracking": {"enabled": False},
}


STEADY = ["status", "key", "accuracy/test", "loss/test", "accuracy/val", "macs", "cost/epochs", "cost/epochs_new"]


def sweep(folder, **changes):
    """Run SPEC with changes; the outcome, what was said, the results by trial."""
    said = io.StringIO()
    outcome = run({**SPEC, **changes}, out=folder, console=Console(file=said, width=200))
    return outcome, said.getvalue(), results(folder).set_index("trial")


def trained(folder):
    """Epochs that were ever trained in a sweep's folder."""
    sweep_folder = SweepFolder(folder)
    return epochs_trained([sweep_folder.events(path.name) for path in folder.glob("trials/*")])


def steady(folder):
    """The results in the columns that two runs must share."""
    return repeatable(pd.read_csv(folder / "results.csv"))


def test_a_sweep_runs_is_tracked_grows_and_follows_an_edit(tmp_path, plugin, caplog):
    folder = tmp_path / "grows"
    outcome, _, table = sweep(folder, tracking={"enabled": True})
    assert outcome.exit_code == 0
    assert list(table["status"]) == ["done"] * 4
    assert table["cost/epochs_new"].sum() == outcome.plan.epochs_distinct == trained(folder)
    assert (folder / "results.csv").exists()
    assert abs(table.loc["convnet_lottery-fraction0.5_s70_seed0"]["sparsity/global"] - 0.7) < 1 / 23824

    database = sqlite3.connect(folder / "mlflow.db")
    runs = database.execute(
        "select status, count(*) from runs join tags using (run_uuid) where lifecycle_stage = 'active' "
        "and key = 'jackpot.kind' and value != 'aggregate' group by 1"
    ).fetchall()
    assert runs == [("FINISHED", 5)]
    tracked = database.execute(
        "select count(*) from metrics join tags using (run_uuid) "
        "where metrics.key = 'accuracy/test' and tags.key = 'jackpot.kind' and tags.value = 'trial'"
    ).fetchone()
    assert tracked == (4,)

    # again: nothing is trained, no trial begins
    before = trained(folder)
    outcome, _, again = sweep(folder)
    assert outcome.exit_code == 0
    assert trained(folder) == before
    assert again.equals(table)

    # a result and a stage are damaged: both are set aside and made again
    path = folder / "trials/convnet_random_s70_seed0/result.json"
    path.write_text(path.read_text().replace('"accuracy/test": 0.', '"accuracy/test": 1.'))
    lottery = folder / "trials/convnet_lottery-fraction0.5_s70_seed0/result.json"
    level = json.loads(lottery.read_text())["chain"][3]["key"]
    data = SweepFolder(folder).store.path(level) / "data.safetensors"
    data.write_bytes(data.read_bytes()[:-10])

    # a seed and a sparsity more: only what is new is trained, and the damaged stage
    outcome, _, more = sweep(folder, seeds=[0, 1], sparsities=[0.7, 0.8])
    assert outcome.exit_code == 0
    assert len(more) == 2 + 4 + 4 + 4
    assert trained(folder) == outcome.plan.epochs_distinct + 2 == more["cost/epochs_new"].sum() + 2
    assert "result set aside" in caplog.text
    assert list(path.parent.glob("result.corrupt-*"))
    assert [aside.name.split("-")[0] for aside in (folder / "corrupt").iterdir()] == [level]
    assert more.loc[table.index][STEADY].equals(table[STEADY])
    # it shares the dense training and the level at density 0.5, whose cost, damaged, stays that of the sparsity 0.7;
    # 0.25 and 0.2 are its own
    assert more.loc["convnet_lottery-fraction0.5_s80_seed0"]["cost/epochs_new"] == 4

    # an edited method: its trials alone are run again
    text = plugin.read_text()
    try:
        plugin.write_text(text + "\n# mended\n")
        source_hash.cache_clear()
        outcome, said, after = sweep(folder)
    finally:
        plugin.write_text(text)
        source_hash.cache_clear()
    assert outcome.exit_code == 0
    begun = [trial for trial in after.index if after.loc[trial]["started"] > more["ended"].max()]
    assert begun == ["convnet_smallest_s70_seed0"]
    assert after.loc[begun[0]]["key"] != more.loc[begun[0]]["key"]
    assert "random" not in said
    assert trained(folder) == more["cost/epochs_new"].sum() + 2 + 2


NET = """
from torch import nn
from orchestrator.engine.nets.convnet import convnet

class Net(nn.Module):
    residual = False

    def __init__(self, num_classes):
        super().__init__()
        self.net = convnet(num_classes, 1)

    def forward(self, x):
        if self.training and len(x) == 64:
            raise RuntimeError("cannot train")
        return self.net(x)
"""


def test_failing_trials_do_not_stop_the_others_and_are_tried_again(tmp_path, plugin):
    (plugin.parent / "jackpot_bad_net.py").write_text(NET)
    folder = tmp_path / "failing"
    changes = {
        "model": ["convnet", "jackpot_bad_net:Net"],
        "methods": ["random", "broken", "hungry", "poisoned", {"name": "lottery", "fraction": [0.4, 0.5]}],
        "failures": {"max_failures": 1},
    }
    outcome, said, table = sweep(folder, **changes)
    assert outcome.exit_code == 1
    good = table[table["model"] == "convnet"]
    assert good["status"].to_dict() == {
        "convnet_broken_s70_seed0": "failed",
        "convnet_hungry_s70_seed0": "failed",
        "convnet_lottery-fraction0.4_s70_seed0": "done",
        "convnet_lottery-fraction0.5_s70_seed0": "done",
        "convnet_poisoned_s70_seed0": "failed",
        "convnet_random_s70_seed0": "done",
    }
    assert good.loc["convnet_broken_s70_seed0"]["error"] == "RuntimeError: this method is broken"
    assert good.loc["convnet_hungry_s70_seed0"]["error"].startswith("OutOfMemoryError")
    assert "died 2 times" in good.loc["convnet_poisoned_s70_seed0"]["error"]
    assert "convnet_poisoned_s70_seed0: its worker process died; started again" in said
    result = json.loads((folder / "trials/convnet_broken_s70_seed0/result.json").read_text())
    assert 'raise RuntimeError("this method is broken")' in result["error"]["traceback"]
    log = (folder / "trials/convnet_broken_s70_seed0/log.txt").read_text()
    assert "trial convnet_broken_s70_seed0 failed: this method is broken" in log

    # the dense training of the other network fails once; who needs it too is blocked by the trial where it failed
    lotteries = table[(table["model"] != "convnet") & (table["method"] == "lottery")]
    assert sorted(lotteries["status"]) == ["blocked", "failed"]
    failed = lotteries[lotteries["status"] == "failed"]
    assert failed["error"].iloc[0] == "RuntimeError: cannot train"
    assert list(lotteries[lotteries["status"] == "blocked"]["blocked_by"]) == list(failed.index)

    mended, before = plugin.parent / "mended", trained(folder)
    mended.touch()
    try:
        run({**SPEC, **changes}, out=folder, only="broken", console=Console(file=io.StringIO()))
    finally:
        mended.unlink()
    assert results(folder).set_index("trial").loc["convnet_broken_s70_seed0"]["status"] == "done"
    assert trained(folder) == before + 2


def test_too_many_failures_stop_the_sweep(tmp_path, plugin):
    folder = SweepFolder(tmp_path / "many")
    spec = load({**SPEC, "methods": ["broken"], "seeds": [0, 1, 2], "failures": {"max_failed_trials": 1}}).require()
    driver = Driver(spec, folder, make_plan(spec), Console(file=io.StringIO()))
    for _ in range(2):
        assert driver.stopped is None
        driver.ended(driver.schedule.next().id, {"status": "failed"})
    assert driver.stopped == "2 trials failed, more than failures.max_failed_trials: 1"
    assert driver.schedule.next() is None


def kill_worker(folder, trial, epochs):
    """Kill the worker of a trial once it has trained so many epochs."""
    sweep_folder = SweepFolder(folder)
    while sum("step" in event for event in sweep_folder.events(trial)) < epochs:
        time.sleep(0.05)
    os.kill(next(event["pid"] for event in sweep_folder.events(trial) if "begin" in event), signal.SIGKILL)


def test_a_killed_worker_changes_nothing(tmp_path, calm):
    folder = tmp_path / "killed"
    trial = "convnet_lottery-fraction0.5_s70_seed0"
    threading.Thread(target=kill_worker, args=(folder, trial, 15), daemon=True).start()
    outcome, said, _ = sweep(folder, **CHAIN)
    assert "its worker process died; started again" in said
    assert outcome.exit_code == 0
    assert steady(folder).equals(steady(calm))
    # the stage in the making is lost, the one before it is not
    assert 0 < trained(folder) - outcome.plan.epochs_distinct <= 12


def test_a_worker_that_dies_when_it_is_handed_the_next_trial_loses_none(tmp_path, cluster, monkeypatch):
    died = tmp_path / "died"

    class Dies(worker.Worker):
        def reset_config(self, new_config):
            if died.exists():
                return super().reset_config(new_config)
            died.touch()
            os._exit(1)

    monkeypatch.setattr(worker, "Worker", Dies)
    spec = {"methods": ["random"], "sparsities": [0.5, 0.7, 0.9], "recipe": {"epochs": 1}, "concurrency": 1}
    outcome, said, _ = sweep(tmp_path / "sweep", **spec)
    assert died.exists()
    assert said.count("its worker process died; started again") == 1
    assert outcome.exit_code == 0
    assert [*outcome.statuses.values()] == ["done"] * 3


def test_tickets_alone_are_kept(tmp_path, calm):
    folder = tmp_path / "tickets"
    shutil.copytree(calm, folder)
    assert list(folder.glob("stages/??/*/stage.json"))
    outcome, _, _ = sweep(folder, keep="tickets", **CHAIN)
    assert outcome.exit_code == 0
    kept = [store.meta(key)["kind"] for store in [SweepFolder(folder).store] for key in store.stages()]
    assert kept == ["measure"]  # every ticket holds its own weights and masks
    assert steady(folder).equals(steady(calm))


def test_a_second_driver_is_refused(tmp_path, plugin):
    folder = SweepFolder(tmp_path / "driven")
    folder.prepare()
    with folder.driving(), pytest.raises(FolderError, match=rf"process {os.getpid()} on .*jackpot stop"):
        sweep(folder.path)


def test_one_method_alone_until_time_is_up(tmp_path, plugin):
    spec = {**SPEC, "recipe": {"epochs": 400}}
    folder, said = tmp_path / "hours", Console(file=io.StringIO())
    outcome = run(spec, out=folder, only="dense", hours=12 / 3600, console=said)
    assert outcome.exit_code == 130
    assert "--max-hours" in outcome.stopped
    assert set(outcome.statuses) == {"convnet_dense_seed0"}
    assert [trial.name for trial in (folder / "trials").iterdir()] == ["convnet_dense_seed0"]
